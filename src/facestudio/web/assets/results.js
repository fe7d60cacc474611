// The results: a picture is saved as it is shown, and cards have buttons for what comes next.
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const index = Number(button.dataset.index);
  if (button.dataset.act === 'more') trigger('more', { index });
  if (button.dataset.act === 'style') trigger('restyle', { index });
  if ('save' in button.dataset) {
    const picture = button.closest('li, td').querySelector('img');
    const link = document.createElement('a');
    link.href = picture.src;
    link.download = picture.dataset.file;
    link.click();
  }
});
