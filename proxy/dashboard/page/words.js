// Numbers, times and names as people read them.

/** Return a length of time: "4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60)
    return `${s} s`;
  if (s < 600)
    return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  if (s < 3600)
    return `${Math.floor(s / 60)} min`;
  if (s < 86400)
    return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

/** Return a wait, which may be short: "12 ms", "1.4 s". */
export function wait(ms) {
  if (ms < 1000)
    return `${Math.round(ms)} ms`;
  return ms < 10000 ? `${(ms / 1000).toFixed(1)} s` : span(ms);
}

export function bytes(count) {
  if (count < 1000)
    return `${count || 0} B`;
  let size = count, unit = -1;
  do {
    size /= 1024;
    unit++;
  } while (size >= 999.5 && unit < 3);
  return `${size.toPrecision(size < 10 ? 2 : 3)} ${['KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

/** Return "1 session", "2 sessions". */
export function counted(number, noun) {
  return `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString('en-GB');
}

export function moment(ms) {
  const then = new Date(ms), isToday = then.toDateString() === new Date().toDateString();
  return isToday ? clock(ms) : `${then.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })}, ${clock(ms).slice(0, 5)}`;
}

/** Return a session's name, that by which clients reconnect to it, or the beginning of its id. */
export function nameOf(session) {
  return session.name || session.kept_as || session.id.slice(0, 8);
}

/** Return the name in a worker's id, "appliance.chromium-02.3fa9c1": "chromium-02". */
export function workerName(id) {
  return id.split('.').at(-2) ?? id;
}

/** Return what a session runs in: "chromium 1.65 · own browser". */
export function runsIn(session) {
  const what = session.protocol === 'cdp' ? 'CDP' : session.isolation === 'browser' ? 'own browser' : 'shared browser';
  return [`${session.browser} ${session.version ?? ''}`.trim(), what].join(' · ');
}
