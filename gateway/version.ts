/** The release that decides; it stands on every decision record. A test holds it equal to package.json. */
export const version = '0.1.0'
