// Makes an image the size that the model takes, as OpenCV does on the box (catsdogs_edge.images.decode.resize):
// an axis that shrinks is averaged over the area, bit for bit as cv2.INTER_AREA; then an axis that grows is interpolated.
// The canvas' own scaling differs by up to 84 levels, which is more than the model's own self-test allows.

const round = (value) => {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor; // half to even, as cvRound
};
const fround = Math.fround;

// RGBA or RGB pixels (`channels` 4 or 3), width x height, to RGB, size x size.
export function resize(pixels, channels, width, height, size) {
  const narrow = Math.min(width, size);
  const low = Math.min(height, size);
  let image = takeRgb(pixels, channels, width * height);
  if (narrow !== width || low !== height) image = shrink(image, width, height, narrow, low);
  return narrow === size && low === size ? image : enlarge(image, narrow, low, size);
}

function takeRgb(pixels, channels, count) {
  if (channels === 3) return pixels;
  const rgb = new Uint8Array(3 * count);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = pixels[from];
    rgb[to + 1] = pixels[from + 1];
    rgb[to + 2] = pixels[from + 2];
  }
  return rgb;
}

function shrink(image, width, height, newWidth, newHeight) {
  const isWhole = width % newWidth === 0 && height % newHeight === 0;
  return isWhole ? shrinkWhole(image, width, height, newWidth, newHeight) : shrinkArea(image, width, height, newWidth, newHeight);
}

// Whole numbers of pixels become one: sums of integers.
function shrinkWhole(image, width, height, newWidth, newHeight) {
  const across = width / newWidth;
  const down = height / newHeight;
  const scale = fround(1 / (across * down));
  const isQuad = across === 2 && down === 2;
  const result = new Uint8Array(3 * newWidth * newHeight);
  for (let y = 0, to = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      for (let channel = 0; channel < 3; channel++, to++) {
        let sum = 0;
        for (let row = y * down; row < (y + 1) * down; row++) {
          const start = 3 * (row * width + x * across) + channel;
          for (let index = 0; index < across; index++) sum += image[start + 3 * index];
        }
        result[to] = isQuad ? (sum + 2) >> 2 : round(fround(fround(sum) * scale));
      }
    }
  }
  return result;
}

// Parts of pixels count with their area, in single precision.
function shrinkArea(image, width, height, newWidth, newHeight) {
  const across = areas(width, newWidth);
  const down = areas(height, newHeight);
  const line = new Float32Array(3 * newWidth);
  const sum = new Float32Array(3 * newWidth);
  const result = new Uint8Array(3 * newWidth * newHeight);
  for (let index = 0; index < down.length; index++) {
    const { to: y, from: row, share } = down[index];
    line.fill(0);
    for (const { to, from, share: part } of across) {
      const at = 3 * to;
      const source = 3 * (row * width + from);
      line[at] += fround(image[source] * part);
      line[at + 1] += fround(image[source + 1] * part);
      line[at + 2] += fround(image[source + 2] * part);
    }
    const isFirst = index === 0 || down[index - 1].to !== y;
    if (isFirst) for (let x = 0; x < sum.length; x++) sum[x] = fround(share * line[x]);
    else for (let x = 0; x < sum.length; x++) sum[x] += fround(share * line[x]);
    if (index === down.length - 1 || down[index + 1].to !== y) {
      for (let x = 0; x < sum.length; x++) result[3 * newWidth * y + x] = round(sum[x]);
    }
  }
  return result;
}

// Which old pixels a new one covers along an axis, and to what share.
function areas(length, newLength) {
  const scale = length / newLength;
  const parts = [];
  for (let to = 0; to < newLength; to++) {
    const start = to * scale;
    const end = start + scale;
    const cell = Math.min(scale, length - start);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) parts.push({ to, from: first - 1, share: fround((first - start) / cell) });
    for (let from = first; from < last; from++) parts.push({ to, from, share: fround(1 / cell) });
    if (end - last > 1e-3) parts.push({ to, from: last, share: fround(Math.min(Math.min(end - last, 1), cell) / cell) });
  }
  return parts;
}

// Linear interpolation with 11 bits of fraction, cut as the vector instructions of the box cut it.
function enlarge(image, width, height, size) {
  const across = neighbours(width, size);
  const down = neighbours(height, size);
  const result = new Uint8Array(3 * size * size);
  const mix = (row, { from, next, share }, channel) => image[3 * (row * width + from) + channel] * (2048 - share) + image[3 * (row * width + next) + channel] * share;
  for (let y = 0, to = 0; y < size; y++) {
    const { from: row, next, share } = down[y];
    for (let x = 0; x < size; x++) {
      for (let channel = 0; channel < 3; channel++, to++) {
        const above = ((mix(row, across[x], channel) >> 4) * (2048 - share)) >> 16;
        const below = ((mix(next, across[x], channel) >> 4) * share) >> 16;
        result[to] = (above + below + 2) >> 2;
      }
    }
  }
  return result;
}

function neighbours(length, size) {
  const scale = length / size;
  return Array.from({ length: size }, (_, index) => {
    const place = Math.min(Math.max((index + 0.5) * scale - 0.5, 0), length - 1);
    const from = Math.floor(place);
    return { from, next: Math.min(from + 1, length - 1), share: round(2048 * (place - from)) };
  });
}
