// A stock Puppeteer that says what it sees of its browser's targets: at first, and after a line of input.
import puppeteer from 'puppeteer-core';
import readline from 'node:readline/promises';

const [address] = process.argv.slice(2);
const browser = await puppeteer.connect({ browserWSEndpoint: address });
const page = await browser.newPage();
await page.setContent('<body style="background: red">');
const events = [];
for (const event of ['targetcreated', 'targetchanged', 'targetdestroyed'])
  browser.on(event, target => events.push(`${event} ${target.type()}`));
const seen = async () => ({ targets: browser.targets().map(target => target.type()).sort(), pages: (await browser.pages()).length });
console.log(JSON.stringify(await seen()));
await readline.createInterface({ input: process.stdin }).question('');
const isPng = (await page.screenshot())[1] === 0x50;
console.log(JSON.stringify({ ...await seen(), events, isPng }));
await browser.close();
process.exit();
