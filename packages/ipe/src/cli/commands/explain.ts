export { defineExplain as define } from './eval.ts';
