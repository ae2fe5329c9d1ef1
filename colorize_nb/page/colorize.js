// The chain of `Colorizer` (lesson 11) in JavaScript: pixels in, pixels out, no page and no network in here.
//
//   shrink -> lightness -> a bit soft -> [the network, twice: photo and mirror image] -> even out -> slope along edges
//   -> enlarge -> join with the lightness of the photo -> take off chroma that sRGB cannot show
//
// The knobs come from the page's settings, which Python writes: {size, soft, even, typical, eps, saturation}.
// Lightness here is L/50 - 1 and colour ab/110, as the network sees them.

// ---- sRGB and CIE L*a*b* (D65, 2 degrees; the constants of lesson 01) ----
const xyzWhite = [0.95047, 1, 1.08883];
const luminance = [0.212671, 0.715160, 0.072169];                        // of linear red, green and blue
const rgbFromXyz = [3.240481, -1.537152, -0.498536, -0.969255, 1.87599, 0.041556, 0.055647, -0.204041, 1.057311];
const rgbFromWhite = Float64Array.from(rgbFromXyz, (v, i) => v*xyzWhite[i % 3]);
const dark = 0.008856;                                                   // CIE 15:2004: below it the cube root is a line
const darkRoot = Math.cbrt(dark);

const toLinear = v => v > 0.04045 ? ((v + 0.055)/1.055)**2.4 : v/12.92;  // IEC 61966-2-1
const toSrgb = v => v > 0.0031308 ? 1.055*v**(1/2.4) - 0.055 : 12.92*v;
const linearOfByte = Float64Array.from({length: 256}, (_, i) => toLinear(i/255));
const rootOf = y => y > dark ? Math.cbrt(y) : 7.787*y + 16/116;
const rootOfGray = Float64Array.from({length: 256}, (_, i) => rootOf(linearOfByte[i]));

const fine = 32768;       // steps of the table from light to bytes: a byte is never less than ten of them wide
const byteOfLight = Uint8Array.from({length: fine + 1}, (_, i) => Math.floor(toSrgb(i/fine)*255 + 0.5));

/** (L + 16)/116 of one pixel; L is the lightness, 0 to 100. */
function root(r, g, b) {
  if (r === g && g === b) return rootOfGray[r];
  return rootOf(luminance[0]*linearOfByte[r] + luminance[1]*linearOfByte[g] + luminance[2]*linearOfByte[b]);
}

/** RGBA bytes -> L/50 - 1 of each pixel. */
export function lightness(rgba) {
  const L = new Float32Array(rgba.length/4);
  for (let i = 0, p = 0; i < L.length; i++, p += 4) L[i] = (116*root(rgba[p], rgba[p + 1], rgba[p + 2]) - 16)/50 - 1;
  return L;
}

// ---- shrink, as Pillow does it: whole blocks first, then a triangle filter ----
const roundEven = v => {
  const low = Math.floor(v);
  return v - low === 0.5 ? low + low % 2 : Math.round(v);
};

export const multiple = 32;   // sides are rounded to it

/** Width and height that the network sees: never enlarged, whole multiples; a long photo is squeezed to four times its short side. */
export function sidesSeen(width, height, {size}) {
  const scale = Math.min(1, size/Math.min(width, height));
  return [width, height].map(s => Math.min(4*size, Math.max(multiple, roundEven(s*scale/multiple)*multiple)));
}

const gap = 3;   // Pillow's reducing_gap: blocks leave at least three times what the filter needs

/** Takes the rows of a photo as they come and averages them in blocks; `done()` filters them down to the sides seen. */
export class Shrink {
  constructor(width, height, sides) {
    const block = [width, height].map((s, i) => Math.max(1, Math.floor(s/sides[i]/gap)));
    const size = [width, height].map((s, i) => Math.ceil(s/block[i]));
    Object.assign(this, {width, height, sides, block, size, row: 0, line: 0});
    this.rgb = new Uint8ClampedArray(3*size[0]*size[1]);
    this.sums = new Float64Array(3*size[0]);
  }
  add(rgba) {   // some more whole rows
    const {width, height, block: [across, down], size: [columns], sums, rgb} = this;
    for (let p = 0; p < rgba.length; this.row++) {
      for (let x = 0, c = 0, left = across; x < width; x++, p += 4) {
        sums[c] += rgba[p];
        sums[c + 1] += rgba[p + 1];
        sums[c + 2] += rgba[p + 2];
        if (--left === 0) { c += 3; left = across; }
      }
      const rows = this.row % down + 1;
      if (rows < down && this.row < height - 1) continue;
      for (let x = 0, c = 0; x < columns; x++) {
        const pixels = rows*Math.min(across, width - x*across);
        for (let k = 0; k < 3; k++, c++) rgb[3*columns*this.line + c] = sums[c]/pixels;
      }
      sums.fill(0);
      this.line++;
    }
  }
  done() {      // RGBA bytes
    const {size: [w, h], sides: [toW, toH], rgb} = this;
    const across = weights(w, this.width/this.block[0], toW), down = weights(h, this.height/this.block[1], toH);
    const narrow = new Uint8ClampedArray(3*toW*h), rgba = new Uint8ClampedArray(4*toW*toH).fill(255);
    for (let y = 0; y < h; y++) for (let x = 0; x < toW; x++) for (let k = 0; k < 3; k++) {
      const {from, share} = across[x];
      let sum = 0;
      for (let i = 0; i < share.length; i++) sum += share[i]*rgb[3*(y*w + from + i) + k];
      narrow[3*(y*toW + x) + k] = sum;
    }
    for (let y = 0; y < toH; y++) for (let x = 0; x < toW; x++) for (let k = 0; k < 3; k++) {
      const {from, share} = down[y];
      let sum = 0;
      for (let i = 0; i < share.length; i++) sum += share[i]*narrow[3*((from + i)*toW + x) + k];
      rgba[4*(y*toW + x) + k] = sum;
    }
    return rgba;
  }
}

/** Which input pixels each output pixel is a mean of, and with which shares: the triangle filter of Pillow's `resize`. */
function weights(count, span, to) {
  const scale = span/to, support = Math.max(1, scale);
  return Array.from({length: to}, (_, i) => {
    const centre = (i + 0.5)*scale;
    const from = Math.max(0, Math.floor(centre - support + 0.5));
    const end = Math.min(count, Math.floor(centre + support + 0.5));
    const share = Array.from({length: end - from}, (_, j) => Math.max(0, 1 - Math.abs(from + j + 0.5 - centre)/support));
    const sum = share.reduce((a, b) => a + b);
    return {from, share: share.map(s => s/sum)};
  });
}

// ---- around the network ----
/** Mean of each 3 x 3 window; the edge is repeated. */
function smooth(x, w, h) {
  const rows = new Float32Array(x.length), out = new Float32Array(x.length);
  for (let y = 0, i = 0; y < h; y++) for (let c = 0; c < w; c++, i++)
    rows[i] = (x[i - (c > 0)] + x[i] + x[i + (c < w - 1)])/3;
  for (let y = 0, i = 0; y < h; y++) for (let c = 0; c < w; c++, i++)
    out[i] = (rows[i - w*(y > 0)] + rows[i] + rows[i + w*(y < h - 1)])/3;
  return out;
}

/** L as the network gets to see it: a bit soft, as the enlarged crops that it learned from. */
export function soften(L, w, h, {soft}) {
  const mean = smooth(L, w, h);
  return L.map((v, i) => v + soft*(mean[i] - v));
}

/** Each row of each plane backwards. */
export function mirror(x, w) {
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) out[i] = x[i - i % w + w - 1 - i % w];
  return out;
}

/** What the full photo needs of the network's answer: planes a, b, slope of a, slope of b, L, five numbers a pixel. */
export function prepare(L, ab, w, h, {even, typical, eps}) {
  const n = w*h;
  let chroma = 0;
  for (let i = 0; i < n; i++) chroma += Math.hypot(ab[i], ab[n + i])/n;
  const factor = Math.min(2, Math.max(0.5, (typical/Math.max(1e-3, chroma))**even));
  if (!Number.isFinite(factor)) throw new Error('the network answered with numbers that are none');
  const mean = smooth(L, w, h), square = smooth(L.map(v => v*v), w, h), planes = new Float32Array(5*n);
  for (let k = 0; k < 2; k++) {
    const c = ab.subarray(k*n, k*n + n).map(v => v*factor);
    const meanC = smooth(c, w, h), product = smooth(c.map((v, i) => v*L[i]), w, h);
    const slope = smooth(product.map((v, i) => (v - mean[i]*meanC[i])/(square[i] - mean[i]**2 + eps)), w, h);
    for (let i = 0; i < n; i++) {
      planes[5*i + k] = c[i];
      planes[5*i + 2 + k] = slope[i];
    }
  }
  for (let i = 0; i < n; i++) planes[5*i + 4] = L[i];
  return {planes, w, h};
}

// ---- the full photo ----
/** Where each of `to` pixels lies among `from`: left neighbour and share of the right one. */
function places(from, to) {
  const index = new Int32Array(to), share = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.min(from - 1, Math.max(0, (i + 0.5)*from/to - 0.5));
    index[i] = Math.min(Math.floor(at), Math.max(0, from - 2));
    share[i] = at - index[i];
  }
  return {index, share};
}

const [m0, m1, m2, m3, m4, m5, m6, m7, m8] = rgbFromWhite;
const cube = f => f > darkRoot ? f*f*f : (f - 16/116)/7.787;
const low = -1e-4, high = 1 + 1e-4;   // how far outside 0..1 still counts as inside (lesson 01)
const shown = (r, g, b) => r >= low && r <= high && g >= low && g <= high && b >= low && b <= high;
const halvings = 12;                  // leave 1/4096 of the chroma
const byte = v => byteOfLight[v <= 0 ? 0 : v >= 1 ? fine : (v*fine + 0.5) | 0];

/** Colour the rows of `rgba` in place: row 0 of it is row `top` of a photo of `width` x `height`. */
export function paint(rgba, top, width, height, {planes, w, h}, saturation) {
  const xs = places(w, width), ys = places(h, height), rows = rgba.length/4/width;
  const line = new Float32Array(5*(w + 1)), strength = 110*saturation, below = 5*w*(h > 1), beside = 5*(w > 1);
  for (let y = 0, p = 0; y < rows; y++) {
    const from = 5*w*ys.index[top + y], v = ys.share[top + y];
    for (let i = 0; i < 5*w; i++) line[i] = planes[from + i] + v*(planes[from + below + i] - planes[from + i]);
    for (let x = 0; x < width; x++, p += 4) {
      const i = 5*xs.index[x], j = i + beside, u = xs.share[x];
      const fy = root(rgba[p], rgba[p + 1], rgba[p + 2]), L = (116*fy - 16)/50 - 1;
      const edge = L - (line[i + 4] + u*(line[j + 4] - line[i + 4]));
      const da = strength/500*(line[i] + u*(line[j] - line[i]) + edge*(line[i + 2] + u*(line[j + 2] - line[i + 2])));
      const db = strength/200*(line[i + 1] + u*(line[j + 1] - line[i + 1]) + edge*(line[i + 3] + u*(line[j + 3] - line[i + 3])));
      const Y = cube(fy);
      let X = cube(fy + da), Z = cube(fy - db);
      let r = m0*X + m1*Y + m2*Z, g = m3*X + m4*Y + m5*Z, b = m6*X + m7*Y + m8*Z;
      if (!shown(r, g, b)) {          // few pixels: halve the interval in which the largest chroma that fits must lie
        let fits = 0, step = 0.5;
        for (let k = 0; k <= halvings; k++, step /= 2) {
          const share = k < halvings ? fits + step : fits;
          X = cube(fy + share*da);
          Z = cube(fy - share*db);
          r = m0*X + m1*Y + m2*Z;
          g = m3*X + m4*Y + m5*Z;
          b = m6*X + m7*Y + m8*Z;
          if (shown(r, g, b)) fits = share;
        }
      }
      rgba[p] = byte(r);
      rgba[p + 1] = byte(g);
      rgba[p + 2] = byte(b);
    }
  }
}
