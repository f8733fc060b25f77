import { expect, test } from '@playwright/test';

test('a page of the own localhost is shown', async ({ page }) => {
  await page.goto('http://localhost/');
  await expect(page).toHaveTitle('outside');
});
