// A stock Puppeteer that leaves its page twice, and comes back to it each time.
import puppeteer from 'puppeteer-core';

const [browserWSEndpoint, site] = process.argv.slice(2);

const saw = [];
for (let visit = 0; visit < 3; ++visit) {
  const browser = await puppeteer.connect({ browserWSEndpoint });
  const pages = await browser.pages();
  if (!visit)
    await pages[0].goto(site);
  saw.push([pages.length, await pages[0].title()]);
  await browser.disconnect();
}
await (await puppeteer.connect({ browserWSEndpoint })).close();
console.log(JSON.stringify(saw));
