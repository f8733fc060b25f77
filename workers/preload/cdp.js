'use strict';

// Which DevTools commands a session may send to its pages (context.new_cdp_session).
//
// A page's DevTools session can also reach the browser and the machine: it lists the pages of all sessions
// (Target.getTargets), closes the browser, reads cookies of any context, opens ports (Tethering.bind) and reads
// files (DOM.setFileInputFiles). So this is a list of what is allowed. A domain of the renderer's is allowed as a
// whole: no two sessions share a renderer. Of a domain that the browser's process serves, the commands are named.
//
// A session that has its browser for itself may send all commands of these domains but those that reach the machine.

const { needsOwnBrowser } = require('./refusal');

const WHOLE_DOMAINS = new Set(words(`
  Accessibility Ads Animation Audits Autofill BackgroundService CSS CacheStorage Console DOMDebugger DOMSnapshot
  DOMStorage Debugger DeviceAccess DeviceOrientation DigitalCredentials EventBreakpoints FedCm FileSystem FindInPage
  HeadlessExperimental HeapProfiler IndexedDB Inspector LayerTree Log Media Overlay Performance PerformanceTimeline
  Preload Profiler Runtime Schema Security ServiceWorker WebAudio WebAuthn WebMCP
`));

const COMMANDS = new Map(Object.entries({
  Browser: 'getVersion',
  DOM: `
    collectClassNamesFromSubtree copyTo describeNode disable discardSearchResults enable focus forceShowInterest
    forceShowPopover getAnchorElement getAttributes getBoxModel getContainerForNode getContentQuads getDetachedDomNodes
    getDocument getElementByRelation getFileInfo getFlattenedDocument getFrameOwner getImplicitAnchorCandidates
    getNodeForLocation getNodeStackTraces getNodesForSubtreeByStyle getOuterHTML getQueryingDescendantsForContainer
    getRelayoutBoundary getSearchResults getTopLayerElements hideHighlight highlightNode highlightRect
    markUndoableState moveTo performSearch pushNodeByPathToFrontend pushNodesByBackendIdsToFrontend querySelector
    querySelectorAll redo removeAttribute removeNode requestChildNodes requestNode resolveNode scrollIntoViewIfNeeded
    setAttributeValue setAttributesAsText setInspectedNode setNodeName setNodeStackTracesEnabled setNodeValue
    setOuterHTML setTextMarker clearTextMarkers undo
  `,
  Emulation: `
    canEmulate clearDeviceMetricsOverride clearDevicePostureOverride clearDisplayFeaturesOverride
    clearGeolocationOverride clearIdleOverride getOverriddenSensorInformation resetPageScaleFactor setAutoDarkModeOverride
    setAutomationOverride setCPUPerformanceOverride setCPUThrottlingRate setDataSaverOverride
    setDefaultBackgroundColorOverride setDeviceMetricsOverride setDevicePostureOverride setDisabledImageTypes
    setDisplayFeaturesOverride setDocumentCookieDisabled setEmitTouchEventsForMouse setEmulatedMedia
    setEmulatedOSTextScale setEmulatedVisionDeficiency setFocusEmulationEnabled setGeolocationOverride
    setHardwareConcurrencyOverride setIdleOverride setLocaleOverride setNavigatorOverrides setPageScaleFactor
    setPressureDataOverride setPressureSourceOverrideEnabled setPressureStateOverride setSafeAreaInsetsOverride
    setScriptExecutionDisabled setScrollbarsHidden setSensorOverrideEnabled setSensorOverrideReadings
    setSmallViewportHeightDifferenceOverride setTimezoneOverride setTouchEmulationEnabled setUserAgentOverride
    setVirtualKeyboardGeometryOverride setVirtualTimePolicy setVisibleSize
  `,
  Fetch: `
    continueRequest continueResponse continueWithAuth disable enable failRequest fulfillRequest getResponseBody
    takeResponseBodyAsStream
  `,
  IO: 'close read resolveBlob',
  Input: `
    cancelDragging dispatchDragEvent dispatchKeyEvent dispatchMouseEvent dispatchTouchEvent emulateTouchFromMouseEvent
    imeSetComposition insertText setIgnoreInputEvents setInterceptDrags synthesizePinchGesture synthesizeScrollGesture
    synthesizeTapGesture
  `,
  Memory: `
    forciblyPurgeJavaScriptMemory getAllTimeSamplingProfile getDOMCounters getDOMCountersForLeakDetection
    getSamplingProfile prepareForLeakDetection startSampling stopSampling
  `,
  Network: `
    canClearBrowserCache canClearBrowserCookies canEmulateNetworkConditions clearAcceptedEncodingsOverride
    clearBrowserCache clearBrowserCookies configureDurableMessages deleteCookies disable emulateNetworkConditions
    emulateNetworkConditionsByRule enable enableReportingApi fetchSchemefulSite getAllCookies getCertificate getCookies
    getRequestPostData getResponseBody getResponseBodyForInterception getSecurityIsolationStatus loadNetworkResource
    overrideNetworkState replayXHR searchInResponseBody setAcceptedEncodings setAttachDebugStack setBlockedURLs
    setBypassServiceWorker setCacheDisabled setCookie setCookieControls setCookies setExtraHTTPHeaders
    setUserAgentOverride streamResourceContent
  `,
  Page: `
    addScriptToEvaluateOnLoad addScriptToEvaluateOnNewDocument bringToFront captureScreenshot captureSnapshot
    clearDeviceMetricsOverride clearDeviceOrientationOverride clearGeolocationOverride close crash createIsolatedWorld
    deleteCookie disable enable generateTestReport getAdScriptAncestry getAdScriptAncestryIds getAnnotatedPageContent
    getAppId getAppManifest getFrameTree getInstallabilityErrors getLayoutMetrics getManifestIcons
    getNavigationHistory getOriginTrials getPermissionsPolicyState getResourceContent getResourceTree
    handleJavaScriptDialog navigate navigateToHistoryEntry printToPDF reload removeScriptToEvaluateOnLoad
    removeScriptToEvaluateOnNewDocument resetNavigationHistory screencastFrameAck searchInResource
    setAdBlockingEnabled setBypassCSP setDeviceMetricsOverride setDeviceOrientationOverride setDocumentContent
    setFontFamilies setFontSizes setGeolocationOverride setInterceptFileChooserDialog setLifecycleEventsEnabled
    setPrerenderingAllowed setSPCTransactionMode setTouchEmulationEnabled setWebLifecycleState startScreencast
    stopLoading stopScreencast waitForDebugger
  `,
  Storage: `
    clearCookies clearDataForOrigin clearDataForStorageKey clearTrustTokens getCookies getStorageKey
    getStorageKeyForFrame getTrustTokens getUsageAndQuota overrideQuotaForOrigin setCookies
    trackCacheStorageForOrigin trackCacheStorageForStorageKey trackIndexedDBForOrigin trackIndexedDBForStorageKey
    untrackCacheStorageForOrigin untrackCacheStorageForStorageKey untrackIndexedDBForOrigin
    untrackIndexedDBForStorageKey
  `,
  Target: 'getTargetInfo',
}).map(([domain, names]) => [domain, new Set(words(names))]));

const OWN_DOMAINS = new Set([...WHOLE_DOMAINS, ...COMMANDS.keys(), 'SystemInfo', 'Tracing']);

// They read or write files of the machine, open connections or listeners, pass commands on that nobody looks at, or open
// a page that does (urls.js).
const OF_THE_MACHINE = new Set(words(`
  Browser.executeBrowserCommand Browser.setDownloadBehavior DOM.setFileInputFiles Page.setDownloadBehavior
  Target.exposeDevToolsProtocol Target.openDevTools Target.sendMessageToTarget Target.setRemoteLocations
`));

// What to do instead of some of the commands that are refused.
const INSTEAD = new Map(Object.entries({
  'Browser.setDownloadBehavior': 'Use page.expect_download() and download.save_as().',
  'Page.setDownloadBehavior': 'Use page.expect_download() and download.save_as().',
  'Browser.grantPermissions': 'Use context.grant_permissions().',
  'Browser.setPermission': 'Use context.grant_permissions().',
  'Browser.resetPermissions': 'Use context.clear_permissions().',
  'Target.createTarget': 'Use context.new_page().',
  'Target.closeTarget': 'Use page.close().',
  'Target.getTargets': 'Use context.pages.',
  'DOM.setFileInputFiles': 'Use page.set_input_files().',
}));

// A command's parameters, looked at; each returns a sentence or undefined.
const CHECKS = new Map(Object.entries({
  'Input.dispatchDragEvent': params => params.data?.files?.length ? 'Drag data must not name files of this grid. ' +
    'Use locator.drop() or page.set_input_files().' : undefined,
  'Target.getTargetInfo': params => params.targetId === undefined ? undefined : refusal('Target.getTargetInfo'),
  'Storage.getCookies': ownContextOnly,
  'Storage.setCookies': ownContextOnly,
  'Storage.clearCookies': ownContextOnly,
}));

const CHECKS_OF_FILES = new Set(['Input.dispatchDragEvent']);

function words(text) {
  return text.split(/\s+/).filter(Boolean);
}

function refusal(method, isOwn) {
  if (isOwn)
    return `${method} reaches beyond the browser, to the grid's machine. ${INSTEAD.get(method) ?? ''}`.trim();
  return needsOwnBrowser(`${method} and other DevTools commands beyond a page`, INSTEAD.get(method));
}

/** Refuse a browser context that is named: without a name, the command is about the page's own. */
function ownContextOnly(params) {
  return params.browserContextId === undefined ? undefined :
    'A page\'s DevTools commands are about its own browser context. Leave browserContextId out.';
}

/** Return why a session may not send this DevTools command to one of its pages, or undefined. */
function whyNot(method, params, { allowFiles, isOwn } = {}) {
  if (typeof method !== 'string')
    return 'A DevTools command must be a string.';
  const dot = method.indexOf('.');  // the browser, too, splits at the first one
  const domain = method.slice(0, dot), command = method.slice(dot + 1);
  if (allowFiles && method === 'DOM.setFileInputFiles')
    return undefined;
  if (isOwn ? !OWN_DOMAINS.has(domain) || OF_THE_MACHINE.has(method) :
    !WHOLE_DOMAINS.has(domain) && !COMMANDS.get(domain)?.has(command))
    return refusal(method, isOwn);
  return isOwn && !CHECKS_OF_FILES.has(method) ? undefined : CHECKS.get(method)?.(params);
}

module.exports = { whyNot };
