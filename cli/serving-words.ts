/** How `sluice serve` says, with the address behind it, that this process and no other listens there. */
export const servingWords = 'sluice serve: listening on'
