/** Statement that has servers work them after all. */
export const releaseJobs = "UPDATE river_job SET state = 'available' WHERE state = 'pending'";
