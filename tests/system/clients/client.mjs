// A stock Node.js client: page, screenshot, a large download and upload.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [endpoint, url, folder] = process.argv.slice(2);
const large = join(folder, 'large.bin');

const browser = await chromium.connect(endpoint);
const page = await browser.newPage();
await page.goto(url);
const title = await page.title();
await page.screenshot({ path: join(folder, 'page.png') });
const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')]);
await download.saveAs(large);
await page.setInputFiles('input', large);
await page.waitForFunction(() => document.title.length === 64);
const uploaded = await page.title();
await browser.close();

const downloaded = createHash('sha256').update(readFileSync(large)).digest('hex');
console.log(JSON.stringify({ title, downloaded, uploaded }));
