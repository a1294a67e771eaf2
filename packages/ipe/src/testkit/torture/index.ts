export { type ClusterOptions, type ClusterPlane, clusterPlanes, TestCluster } from './cluster.ts';
export { scenarios } from './scenarios.ts';
export { type TortureOptions, type TortureRow, torture } from './torture.ts';
