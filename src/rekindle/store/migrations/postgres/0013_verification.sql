-- Verifications: completed attempts that were made again aside, and how their outputs compared.

CREATE TABLE verification (
    attempt BIGINT NOT NULL REFERENCES attempt DEFERRABLE,
    at DOUBLE PRECISION NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (attempt, at)
);
