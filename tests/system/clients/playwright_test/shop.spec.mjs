import { expect, test } from '@playwright/test';

test('a button says that it was pressed', async ({ page }) => {
  await page.setContent('<title>A shop</title><button onclick="this.textContent=\'sold\'">buy</button>');
  await page.getByRole('button', { name: 'buy' }).click();
  await expect(page.getByRole('button')).toHaveText('sold');
  await expect(page).toHaveTitle('A shop');
});

test('a page is shown', async ({ page }) => {
  await page.goto(process.env.SITE);
  await expect(page).toHaveTitle('A real page');
});
