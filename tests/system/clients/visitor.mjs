// A stock Node.js client of a version, with one session after another, each second one with a browser of its own.
const [version, endpoint, url, count] = process.argv.slice(2);
const { chromium } = await import(`playwright-${version}`);

for (let number = 0; number < Number(count); number++) {
  const browser = await chromium.connect(`${endpoint}/?isolation=${['context', 'browser'][number % 2]}`);
  const page = await browser.newPage();
  await page.goto(url);
  if (await page.title() !== 'A real page')
    throw new Error(`the page is called ${await page.title()}`);
  await browser.close();
}
