-- The account of api.mysql_url: may add posted rows, and nothing else.
CREATE USER IF NOT EXISTS {user}@'%' IDENTIFIED BY {password};
ALTER USER {user}@'%' IDENTIFIED BY {password};
GRANT INSERT ON {database}.scraped_result TO {user}@'%';
