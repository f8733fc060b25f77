// The last hour: sessions, waits, throughput, memory. uPlot draws; its classic script gives the global name.

import { byId, el, say } from './dom.js';
import { state } from './state.js';
import { bytes, wait } from './words.js';

const { uPlot } = globalThis;
const HOUR_S = 3600;
const MIB = 2 ** 20;

// Each series: what it takes of a sample, its colour's name, and whether the room below it is filled.
const CHARTS = [
  { id: 'sessions', title: 'Sessions', value: String, least: 4, series: [
    { of: one => one.slots, tone: '--line-strong', dash: [4, 4] }, { of: one => one.active, tone: '--accent-fill', isFilled: true }, { of: one => one.waiting, tone: '--warn-fill' }],
    now: one => one.waiting ? `${one.active} + ${one.waiting} waiting` : `${one.active} of ${one.slots}` },
  { id: 'waits', title: 'Waits for a slot', value: ms => wait(ms).replace(/\.0 /, ' '), least: 100, series: [
    { of: one => one.wait_max_ms, tone: '--warn-fill' }, { of: one => one.wait_mean_ms, tone: '--accent-fill', isFilled: true }],
    now: one => one.wait_mean_ms === null ? '–' : `${wait(one.wait_mean_ms)} mean` },
  { id: 'throughput', title: 'Ended per minute', value: String, least: 5, series: [
    { of: one => one.ended_per_minute, tone: '--accent-fill', isFilled: true }, { of: one => one.failed_per_minute, tone: '--bad-fill' }],
    now: one => String(Math.round(one.ended_per_minute)) },
  { id: 'memory', title: 'Memory', value: size => bytes(size).replace(/\.0 /, ' '), least: 512 * MIB, series: [
    { of: one => one.memory_bytes, tone: '--accent-fill', isFilled: true }], now: one => bytes(one.memory_bytes) },
];

let drawnAs = '';  // theme and width

export function drawCharts() {
  const place = byId('charts');
  if (!place.children.length)
    place.append(...CHARTS.map(make));
  const look = `${document.documentElement.dataset.theme} ${place.clientWidth}`;
  if (look !== drawnAs)
    CHARTS.forEach(chart => build(chart));
  drawnAs = look;
  const { samples } = state, latest = samples.at(-1);
  if (place.drawn === latest?.at_ms && !place.isNew)
    return;
  place.drawn = latest?.at_ms;
  place.isNew = false;
  for (const chart of CHARTS) {
    const shown = smooth(chart, samples);
    chart.plot.setData([shown.map(one => one.at_ms / 1000), ...chart.series.map(({ of }) => shown.map(one => of(one) ?? null))]);
    byId(`plot-${chart.id}`).classList.toggle('is-empty', samples.length < 2);
    say(byId(`now-${chart.id}`), latest ? chart.now(latest) : '');
  }
}

/** Return the samples; a rate that is read off ten seconds alone would only flicker, so it is that of a minute. */
function smooth({ id }, samples) {
  if (id !== 'throughput')
    return samples;
  return samples.map((one, i) => {
    const minute = samples.slice(Math.max(0, i - 5), i + 1), mean = name => minute.reduce((sum, each) => sum + each[name], 0) / minute.length;
    return { ...one, ended_per_minute: mean('ended_per_minute'), failed_per_minute: mean('failed_per_minute') };
  });
}

function make({ id, title }) {
  return el('div', { class: 'chart' }, el('h3', {}, title, el('output', { id: `now-${id}` })), el('div', { class: 'plot is-empty', id: `plot-${id}` }));
}

function build(chart) {
  const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name).trim();
  const place = byId(`plot-${chart.id}`);
  chart.plot?.destroy();
  const axis = { stroke: colour('--ink-faint'), font: `11px ${style.getPropertyValue('--font')}`, ticks: { show: false }, grid: { stroke: colour('--line'), width: 1 } };
  chart.plot = new uPlot({
    width: place.clientWidth, height: place.clientHeight, padding: [8, 16, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 7 }, sync: { key: 'hour' }, drag: { x: false, y: false } },
    scales: { x: { range: () => [state.now / 1000 - HOUR_S, state.now / 1000] }, y: { range: (plot, low, high) => [0, Math.max(chart.least, (high ?? 0) * 1.15)] } },
    axes: [
      { ...axis, grid: { show: false }, size: 28, gap: 6, space: 60, values: (plot, ticks) => ticks.map(s => new Date(s * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })) },
      { ...axis, size: (plot, values) => 14 + 6.2 * Math.max(0, ...(values ?? []).map(one => one.length)), gap: 4, space: 34, values: (plot, ticks) => ticks.map(chart.value), incrs: chart.id === 'memory' ? [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768].map(n => n * MIB) : undefined },
    ],
    series: [{}, ...chart.series.map(({ tone, isFilled, dash }) => ({
      stroke: colour(tone), width: 1.8, dash, points: { show: false }, spanGaps: chart.id !== 'sessions',
      fill: isFilled ? `color-mix(in srgb, ${colour(tone)} 14%, transparent)` : undefined,
    }))],
    hooks: { setCursor: [plot => read(chart, plot)] },
  }, [[], ...chart.series.map(() => [])], place);
  byId('charts').isNew = true;
}

/** Show the values where the pointer is. */
function read(chart, plot) {
  const one = plot.cursor.idx === null || plot.cursor.left < 0 ? state.samples.at(-1) : smooth(chart, state.samples)[plot.cursor.idx];
  if (one)
    say(byId(`now-${chart.id}`), chart.now(one));
}
