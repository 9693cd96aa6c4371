-- The account of ROWCAST_DEMO_MYSQL_URL, which plays the legacy process: may add detections, and nothing else.
CREATE USER IF NOT EXISTS {user}@'%' IDENTIFIED BY {password};
ALTER USER {user}@'%' IDENTIFIED BY {password};
GRANT INSERT ON {database}.cctv_detection_results TO {user}@'%';
