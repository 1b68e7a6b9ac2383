/**
 * Colours of plots and of the page by day (src/page/theme.ts has those by night). Series have those of Okabe and Ito, which people with
 * any colour vision tell apart, with the yellow darkened.
 */
export const BLUE = "#0072b2";
export const SKY = "#4aa3d8";
export const GREEN = "#009e73";
export const ORANGE = "#d98b00";
export const RED = "#c94a00";
export const PINK = "#b8578f";
export const GREY = "#7d8590";
export const INK = "#1f2328";
export const AXIS = "#57606a";
export const GRID = "#e4e8ec";
/** Phases, interventions, policies; and what is grave: kills, and the limits that lead to them. */
export const MARK = "#6e40c9";
export const BAD = "#b3261e";
