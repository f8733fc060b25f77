// A stock Node.js client of a version: one session after another; then it says "done", and holds one until stdin closes.
const [version, endpoint, url, count] = process.argv.slice(2);
const { chromium } = await import(`playwright-${version}`);

async function open() {
  const browser = await chromium.connect(endpoint);
  const page = await browser.newPage();
  await page.goto(url);
  if (await page.title() !== 'A real page')
    throw new Error(`the page is called ${await page.title()}`);
  return browser;
}

for (let number = 0; number < Number(count); number++)
  await (await open()).close();
const held = await open();
console.log('done');
process.stdin.resume().once('end', () => held.close());
