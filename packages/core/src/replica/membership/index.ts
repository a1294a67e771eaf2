export { carriedOn } from './carried.ts';
export { isCutFinal, type MemberFact } from './final-cut.ts';
export {
  acceptedOnReturn,
  cutsOf,
  evictedState,
  isToTell,
  type MemberState,
  newestOf,
  supersedes,
} from './member-state.ts';
export { type Aside, type EvictedStore, setAside } from './set-aside.ts';
