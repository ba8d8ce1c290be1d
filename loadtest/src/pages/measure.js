(() => {
  const visible = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== 'hidden';
  const all = (selector, from = document) => [...from.querySelectorAll(selector)].filter(visible);
  const problems = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width)
    problems.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  for (const e of all('.tiles dt, .tiles dd, .tiles div, .badge, h1, h2, .note'))
    if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
      problems.push(`cut: ${e.textContent}`);
  for (const e of all(".tiles .value"))
    if ([...e.childNodes].some(n => { const r = document.createRange(); r.selectNode(n); return r.getClientRects().length > 1; }))
      problems.push(`a broken number: ${e.textContent}`);
  for (const e of all('.scroll'))
    if (width >= 1280 && e.scrollWidth > e.clientWidth)
      problems.push(`a table is ${e.scrollWidth} px wide in ${e.clientWidth}: ${e.textContent.slice(0, 60)}`);
  for (const row of all('.tiles')) {
    const tiles = all('div', row), last = tiles[tiles.length - 1].getBoundingClientRect();
    if (width < 640 && last.right < row.getBoundingClientRect().right - 2)
      problems.push('an empty column beside the last tile');
  }
  for (const table of all('table')) {
    const rows = [...table.tBodies[0].rows];
    for (let at = 1; at < table.tHead.rows[0].cells.length; at += 1)
      if (rows.length && rows.every(row => ['', '–'].includes(row.cells[at].textContent)))
        problems.push(`an empty column: ${table.tHead.rows[0].cells[at].textContent}`);
  }
  for (const svg of all('svg')) {
    const box = svg.getBoundingClientRect(), name = svg.getAttribute('aria-label');
    const titles = all('.title', svg).filter(e => e.textContent.trim());
    const wanted = svg.querySelector('.whisker') ? 1 : 2;
    if (titles.length !== wanted) problems.push(`${name}: ${titles.length} axis titles`);
    const texts = [...svg.querySelectorAll('text')];
    for (const e of texts.concat([...svg.querySelectorAll('.box')])) {
      const at = e.getBoundingClientRect();
      if (at.left < box.left - 2 || at.right > box.right + 2 || at.top < box.top - 2 || at.bottom > box.bottom + 2)
        problems.push(`${name}: outside of the drawing: ${e.textContent}`);
    }
    const names = all('.name', svg).map(e => e.getBoundingClientRect());
    names.forEach((a, i) => names.slice(i + 1).forEach(b => {
      if (a.top + 3 < b.bottom && b.top + 3 < a.bottom && a.left < b.right && b.left < a.right)
        problems.push(`${name}: a name lies over another`);
    }));
  }
  const numbers = text => text.match(/[\d.]+/g).map(Number);
  const light = text => {
    const [r, g, b] = numbers(text).map(c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const seen = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), isSvg = e instanceof SVGElement;
    const tip = e.closest('.tip')?.querySelector('.box');
    const [a, b] = [isSvg ? style.fill : style.color, tip ? getComputedStyle(tip).fill : behind(e)].map(light);
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const key = `${e.tagName}.${e.getAttribute('class')}`;
    if (contrast < 4.5 && !seen.has(key)) {
      seen.add(key);
      problems.push(`contrast ${contrast.toFixed(2)}: ${key} ${e.textContent.slice(0, 30)}`);
    }
  }
  return problems;
})()
