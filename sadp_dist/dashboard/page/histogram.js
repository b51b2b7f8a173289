// Histograms of scores with common bins.

const BINS = 36;

/**
 * Convert histograms whose bins differ to common bins, evenly spaced in the logarithm. The examples of a bin count as
 * evenly spread over its width.
 *
 * @param {{edges: number[], counts: number[]}[]} histograms
 * @returns {{edges: number[], shares: number[][]}} edges as powers of ten; the share of an epoch's examples by bin.
 */
export function onCommonBins(histograms) {
  const logs = histograms.map((histogram) => histogram.edges.map(Math.log10));
  let low = Math.min(...logs.map((edges) => edges[0]));
  let high = Math.max(...logs.map((edges) => edges.at(-1)));
  if (high - low < 1e-6) [low, high] = [low - 0.5, high + 0.5]; // all scores are the same
  const width = (high - low) / BINS;
  const shares = histograms.map(({ counts }, epoch) => {
    const total = counts.reduce((sum, number) => sum + number, 0);
    const bins = new Array(BINS).fill(0);
    counts.forEach((number, i) => {
      const [from, to] = [(logs[epoch][i] - low) / width, (logs[epoch][i + 1] - low) / width];
      if (to - from < 1e-9) bins[Math.min(Math.floor(from), BINS - 1)] += number / total;
      else {
        for (let bin = Math.max(Math.floor(from), 0); bin < Math.min(to, BINS); bin++) {
          bins[bin] += ((Math.min(to, bin + 1) - Math.max(from, bin)) / (to - from)) * (number / total);
        }
      }
    });
    return bins;
  });
  return { edges: Array.from({ length: BINS + 1 }, (_, i) => low + i * width), shares };
}
