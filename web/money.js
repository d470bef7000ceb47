// Amounts of US dollars that stand under each other: all with the same digits.
import { text } from "./text.js";

/** The digits behind the point that amounts get. significant: of the smallest that is not zero; fewer where the largest is large. */
export function digitsFor(amounts, significant = 2) {
  const sizes = amounts.filter(Boolean).map(Math.abs);
  if (!sizes.length) return 2;
  const [least, most] = sizes.reduce(([one, other], each) => [Math.min(one, each), Math.max(other, each)], [Infinity, 0]);
  const room = most >= 100 ? 2 : most >= 1 ? 4 : 6;
  return Math.min(Math.max(2, significant - 1 - Math.floor(Math.log10(least))), room);
}

/** What writes an amount with so many digits. null: unknown. */
export const dollarsWith = (digits) => (amount) => {
  if (amount === null || amount === undefined) return text("unknown");
  const size = Math.abs(amount);
  const sign = amount < 0 ? "−" : "";
  if (size && size < 10 ** -digits / 2) return `${sign}<$${(10 ** -digits).toFixed(digits)}`;
  return `${sign}$${size.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
};
