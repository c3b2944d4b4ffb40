-- What runners have for jobs (JSON: rekindle.domain.models.Offer); null: not recorded.

ALTER TABLE runner ADD COLUMN offer TEXT;
