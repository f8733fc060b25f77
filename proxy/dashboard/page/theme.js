// Runs before the page is drawn, so that it never flashes in the other theme: the system's, or the one that was chosen.
{
  const system = matchMedia('(prefers-color-scheme: dark)');
  const show = () => {
    const chosen = localStorage.getItem('theme');
    document.documentElement.dataset.theme = chosen || (system.matches ? 'dark' : 'light');
    document.dispatchEvent(new Event('theme'));
  };
  system.addEventListener('change', show);
  window.changeTheme = () => {
    const other = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
    if (other === (system.matches ? 'dark' : 'light'))
      localStorage.removeItem('theme');  // follow the system again
    else
      localStorage.setItem('theme', other);
    show();
  };
  show();
}
