/**
 * Version of the policy language: what documents mean and how programs are written. A release that reads or writes
 * either differently raises it; it stands in every manifest, program and receipt.
 */
export const languageVersion = 1;
