// A stock Puppeteer: it connects, uses pages of two contexts, and closes the browser.
import puppeteer from 'puppeteer-core';

const [way, address, site, token] = process.argv.slice(2);

const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
const browser = await puppeteer.connect({ [way]: address, headers });
const [first] = await browser.pages();
const start = first.url();
const page = await browser.newPage();
await page.goto(site);
const title = await page.title();
const picture = await page.screenshot();
const other = await (await browser.createBrowserContext()).newPage();
await other.goto(site);
const pages = (await Promise.all(browser.browserContexts().map(context => context.pages()))).flat().length;
const upload = await (await other.$('input')).uploadFile('/etc/hostname').then(() => 'read', error => error.message);
await browser.close();
console.log(JSON.stringify({ start, title, isPng: picture[1] === 0x50, pages, upload }));
