// The frame with the page that colours photos is as high as that page, so that there is one scroll bar and not two.
for (const frame of document.querySelectorAll('iframe.colorizer')) {
  const fit = () => { frame.style.height = `${frame.contentDocument.documentElement.offsetHeight + 4}px`; };
  const watch = () => new ResizeObserver(fit).observe(frame.contentDocument.body);
  if (frame.contentDocument?.readyState === 'complete' && frame.contentDocument.body?.children.length) watch();
  else frame.addEventListener('load', watch);
}
