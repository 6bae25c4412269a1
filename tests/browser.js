// What a page looks like from inside; tests/browser.py asks it.

function overflow(opened) {
  document.querySelectorAll("details").forEach((each) => { if (opened) each.open = true; });
  const room = window.innerWidth, page = document.scrollingElement;
  if (page.scrollWidth <= room) return [];
  const inside = (each) => {  // of something that scrolls by itself
    for (let up = each.parentElement; up && up !== document.body; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== "visible" && up.getBoundingClientRect().right <= room + 1) return true;
    return false;
  };
  const wide = [...document.body.querySelectorAll("*")].filter(
    (each) => each.getBoundingClientRect().right > room + 1 && !inside(each));
  const named = wide.slice(0, 3).map((each) => `<${each.tagName.toLowerCase()} class="${each.className.baseVal ?? each.className}">`);
  return [`${page.scrollWidth} pixels wide, the window is ${room}: ${named.join(", ")}`];
}

function rgba(words) {
  const found = words.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
  return words.startsWith("color(srgb") ? [...found.slice(0, 3).map((each) => 255 * each), found[3] ?? 1]
    : [found[0], found[1], found[2], found[3] ?? 1];
}

function over(front, back) {
  return [0, 1, 2].map((at) => front[at] * front[3] + back[at] * (1 - front[3])).concat(1);
}

const behind = new Map();
function background(each) {
  if (!each) return rgba(getComputedStyle(document.documentElement).colorScheme.includes("dark")
    && matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)");
  if (!behind.has(each)) {
    const own = rgba(getComputedStyle(each).backgroundColor);
    behind.set(each, own[3] === 1 ? own : over(own, background(each.parentElement)));
  }
  return behind.get(each);
}

function luminance(colour) {
  const [r, g, b] = colour.slice(0, 3).map((each) => each / 255).map(
    (each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

function faint(least) {
  const found = new Map();
  const tell = (each, colour, words) => {
    const back = background(each), ratio = contrast(over(rgba(colour), back), back);
    const key = `<${each.tagName.toLowerCase()}> ${colour} on ${back.slice(0, 3).map(Math.round)}`;
    if (ratio < least && !found.has(key)) found.set(key, `contrast ${ratio.toFixed(2)} of ${JSON.stringify(words)}, ${key}`);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walk.nextNode(); text; text = walk.nextNode()) {
    const each = text.parentElement, words = text.data.trim();
    if (!words || ["SCRIPT", "STYLE", "TITLE", "title", "NOSCRIPT", "TEMPLATE"].includes(each.tagName) || !each.checkVisibility()) continue;
    const style = getComputedStyle(each);
    tell(each, each instanceof SVGElement ? style.fill : style.color, words.slice(0, 40));
  }
  for (const drawn of document.querySelectorAll('svg g[id*="text_"] use')) tell(drawn, getComputedStyle(drawn).fill, "a letter in a drawing");
  return [...found.values()].slice(0, 8);
}

function links() {
  return [...document.querySelectorAll("a[href], area[href]")].map((each) => each.getAttribute("href"));
}

function fetched() {
  const named = [...document.querySelectorAll("[src], link[href], object[data]")].map((each) => each.src ?? each.href ?? each.data);
  const loaded = performance.getEntriesByType("resource").map((each) => each.name);
  return [...new Set([...named, ...loaded])].filter((each) => each && !each.startsWith("data:"));
}
