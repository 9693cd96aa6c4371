-- Which numbered files this database has seen, each with the hash of its text.
CREATE TABLE IF NOT EXISTS rowcast_migrations (
    number     INT UNSIGNED NOT NULL PRIMARY KEY,
    name       VARCHAR(191) NOT NULL,
    sha256     CHAR(64)     NOT NULL,
    applied_at DATETIME(3)  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
