// A stock Node.js client that exchanges messages of 16 and 90 MB. The Python client would do as well, but not soon:
// its pipe to its driver takes a minute for 90 MB.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const [playwright, endpoint] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwright);
const echo = createServer((request, response) => request.pipe(response)).listen(0, '127.0.0.1');
await once(echo, 'listening');

const browser = await chromium.connect(endpoint);
const page = await browser.newPage();
const text = randomBytes(12_000_000).toString('base64');
const isSame = await page.evaluate(x => x, text) === text;
const data = randomBytes(67_500_000); // 90 MB in base64, as client and driver exchange them
const answer = await page.request.post(`http://127.0.0.1:${echo.address().port}`, { data, timeout: 60_000 });
console.log(JSON.stringify([isSame, data.equals(await answer.body())]));
await browser.close();
echo.close();
