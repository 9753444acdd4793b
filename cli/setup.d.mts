/** The folder of package.json. */
export const projectRoot: string
/** Throws, with what to do, if this Node cannot run us. */
export function checkNode(): void
/** Runs `npm ci` if there are no packages yet, or others than package-lock.json names. */
export function ensurePackages(): Promise<void>
/** Compiles to dist/ if a source is newer than the last compilation. */
export function ensureBuilt(): Promise<void>
