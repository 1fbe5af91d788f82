"""What lies in the folder and has no versions, for clients: beside what the log has, it is listed, served and changed on the disk alone."""
