/** Statement that releases jobs on hold: servers then run them. */
export const releaseJobs = "UPDATE river_job SET state = 'available' WHERE state = 'pending'";
