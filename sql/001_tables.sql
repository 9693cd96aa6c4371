-- The tables of the first users. One that exists already, as in a legacy database, is left as it is.

-- One row per detection of a camera. "snapshoot" is how its writers spell it.
CREATE TABLE IF NOT EXISTS cctv_detection_results (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    cctv_id       INT             NOT NULL,
    data          JSON            NOT NULL,
    `timestamp`   DATETIME(3)     NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    snapshoot_url VARCHAR(2048)   NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- One row per POST /api/scraped-result.
CREATE TABLE IF NOT EXISTS scraped_result (
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    account     VARCHAR(255)    NOT NULL,
    data        JSON            NOT NULL,
    url         VARCHAR(2048)   NOT NULL,
    `timestamp` DATETIME(3)     NOT NULL DEFAULT (UTC_TIMESTAMP(3))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
