-- The account of mysql.url: follows the log, asks for its position, reads captured tables.
-- REPLICATION SLAVE alone streams every table of the server: treat its password as "may read everything".
CREATE USER IF NOT EXISTS {user}@'%' IDENTIFIED BY {password};
ALTER USER {user}@'%' IDENTIFIED BY {password};
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}@'%';
GRANT SELECT ON {schema}.* TO {user}@'%';
