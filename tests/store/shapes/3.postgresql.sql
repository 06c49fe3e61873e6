CREATE TABLE belongings (
	provider TEXT NOT NULL,
	kind TEXT NOT NULL,
	id TEXT NOT NULL,
	tenant TEXT NOT NULL,
	created_at DOUBLE PRECISION NOT NULL,
	PRIMARY KEY (provider, kind, id)
);
CREATE INDEX belongings_tenant ON belongings (tenant, provider, kind, created_at);
CREATE TABLE charges (
	call_id TEXT NOT NULL,
	tenant TEXT NOT NULL,
	request_id TEXT COLLATE "C" NOT NULL,
	key TEXT NOT NULL,
	provider TEXT NOT NULL,
	model TEXT NOT NULL,
	via TEXT NOT NULL,
	input BIGINT NOT NULL,
	output BIGINT NOT NULL,
	cached BIGINT NOT NULL,
	cache_written BIGINT NOT NULL,
	reasoning BIGINT NOT NULL,
	tier TEXT,
	cost BIGINT,
	counterfactual BIGINT,
	at DOUBLE PRECISION NOT NULL,
	day INTEGER NOT NULL,
	cache_written_hour BIGINT DEFAULT 0 NOT NULL,
	PRIMARY KEY (call_id, tenant, request_id)
);
CREATE INDEX charges_day ON charges (day);
CREATE INDEX charges_request ON charges (tenant, request_id);
CREATE TABLE events (
	id BIGSERIAL NOT NULL,
	at DOUBLE PRECISION NOT NULL,
	tenant TEXT NOT NULL,
	ask TEXT,
	job_id TEXT,
	kind TEXT NOT NULL,
	reason TEXT NOT NULL,
	data TEXT NOT NULL,
	picodollars BIGINT,
	PRIMARY KEY (id)
);
CREATE INDEX events_ask ON events (ask);
CREATE INDEX events_job ON events (job_id);
CREATE TABLE gaps (
	id BIGSERIAL NOT NULL,
	since DOUBLE PRECISION NOT NULL,
	until DOUBLE PRECISION NOT NULL,
	records BIGINT NOT NULL,
	charges BIGINT NOT NULL,
	reason TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE jobs (
	id TEXT NOT NULL,
	submit_tag TEXT NOT NULL,
	provider TEXT NOT NULL,
	account TEXT NOT NULL,
	endpoint TEXT NOT NULL,
	model TEXT NOT NULL,
	state TEXT NOT NULL,
	status TEXT NOT NULL,
	n INTEGER NOT NULL,
	tokens BIGINT NOT NULL,
	provider_batch_id TEXT,
	created_at DOUBLE PRECISION NOT NULL,
	next_at DOUBLE PRECISION,
	finished_at DOUBLE PRECISION,
	hidden BOOLEAN NOT NULL,
	cancel TEXT,
	owner TEXT,
	fence BIGINT NOT NULL,
	lease_until DOUBLE PRECISION,
	data BYTEA NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (submit_tag)
);
CREATE INDEX jobs_next_at ON jobs (next_at);
CREATE INDEX jobs_provider_batch_id ON jobs (provider_batch_id);
CREATE TABLE keys (
	hash TEXT NOT NULL,
	name TEXT NOT NULL,
	tenant TEXT NOT NULL,
	scope TEXT NOT NULL,
	profile TEXT,
	lanes TEXT,
	deadline DOUBLE PRECISION,
	reuse TEXT,
	packing TEXT,
	retention TEXT,
	created_at DOUBLE PRECISION NOT NULL,
	revoked_at DOUBLE PRECISION,
	PRIMARY KEY (hash)
);
CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked_at IS NULL;
CREATE TABLE learnt (
	provider TEXT NOT NULL,
	model TEXT NOT NULL,
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	at DOUBLE PRECISION NOT NULL,
	PRIMARY KEY (provider, model, name)
);
CREATE TABLE owners (
	owner_id TEXT NOT NULL,
	lease_until DOUBLE PRECISION NOT NULL,
	started_at DOUBLE PRECISION NOT NULL,
	host TEXT NOT NULL,
	PRIMARY KEY (owner_id)
);
CREATE TABLE requests (
	ask TEXT NOT NULL,
	tenant TEXT NOT NULL,
	request_id TEXT COLLATE "C" NOT NULL,
	key TEXT NOT NULL,
	caller TEXT NOT NULL,
	provider TEXT NOT NULL,
	model TEXT NOT NULL,
	endpoint TEXT NOT NULL,
	priority TEXT NOT NULL,
	strategy TEXT NOT NULL,
	on_deadline TEXT NOT NULL,
	lane TEXT NOT NULL,
	status TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	asked_at DOUBLE PRECISION NOT NULL,
	deadline DOUBLE PRECISION,
	rescue_at DOUBLE PRECISION,
	attempts INTEGER NOT NULL,
	owner TEXT,
	job_id TEXT,
	tags TEXT,
	tokens BIGINT,
	size BIGINT NOT NULL,
	named BOOLEAN NOT NULL,
	forwarded BOOLEAN NOT NULL,
	retention DOUBLE PRECISION,
	shared BOOLEAN NOT NULL,
	why TEXT NOT NULL,
	traits TEXT,
	PRIMARY KEY (ask),
	CONSTRAINT requests_tenant_id UNIQUE (tenant, request_id)
);
CREATE INDEX requests_pending ON requests (owner, rescue_at) WHERE status = 'pending';
CREATE TABLE turnarounds (
	id BIGSERIAL NOT NULL,
	provider TEXT NOT NULL,
	model TEXT NOT NULL,
	at DOUBLE PRECISION NOT NULL,
	seconds DOUBLE PRECISION NOT NULL,
	n INTEGER NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX turnarounds_model ON turnarounds (provider, model, at);
CREATE TABLE answers (
	ask TEXT NOT NULL,
	status INTEGER NOT NULL,
	body BYTEA,
	answer TEXT,
	fault TEXT,
	fingerprint TEXT,
	via TEXT NOT NULL,
	batch_id TEXT,
	packed INTEGER NOT NULL,
	finished_at DOUBLE PRECISION NOT NULL,
	keep_until DOUBLE PRECISION,
	cost BIGINT,
	saved BIGINT,
	why TEXT NOT NULL,
	PRIMARY KEY (ask),
	FOREIGN KEY(ask) REFERENCES requests (ask)
);
CREATE INDEX answers_fingerprint ON answers (fingerprint, finished_at) WHERE fingerprint IS NOT NULL;
CREATE INDEX answers_keep_until ON answers (keep_until) WHERE keep_until IS NOT NULL;
CREATE TABLE bodies (
	ask TEXT NOT NULL,
	body BYTEA NOT NULL,
	rest BYTEA NOT NULL,
	PRIMARY KEY (ask),
	FOREIGN KEY(ask) REFERENCES requests (ask)
);
CREATE TABLE job_rows (
	job_id TEXT NOT NULL,
	position INTEGER NOT NULL,
	ask TEXT NOT NULL,
	state TEXT NOT NULL,
	PRIMARY KEY (job_id, position),
	FOREIGN KEY(job_id) REFERENCES jobs (id),
	FOREIGN KEY(ask) REFERENCES requests (ask)
);
CREATE UNIQUE INDEX job_rows_ask ON job_rows (ask, job_id);
