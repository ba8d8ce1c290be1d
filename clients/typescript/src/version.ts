/** The version, in step with the server's. */
export const version = "0.1.0";
