/** The typings of seedrandom name only its front door, which bundles seven generators; we need the one file. */
declare module "seedrandom/lib/alea.js" {
  interface Alea {
    (): number;
    int32(): number;
  }
  export default function alea(seed: string): Alea;
}
