export type {
  MessagePlane,
  PlaneDelivery,
  PlaneInterest,
  PlaneMessage,
  PlaneStatus,
  PlaneSubscription,
} from './plane.ts';
