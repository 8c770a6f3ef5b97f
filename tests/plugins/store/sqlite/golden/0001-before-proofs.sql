BEGIN TRANSACTION;
CREATE TABLE accounts (
	id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "accounts" VALUES('account','{"id":"account","created_at":"2026-01-02T03:04:05.678901Z","created_by":"user","settings":{"network_range":"100.64.0.0/16","network_range_v6":"fd12:3456::/64","dns_domain":"","ipv6_enabled_groups":[],"peer_login_expiration_enabled":true,"peer_login_expiration":86400,"peer_inactivity_expiration_enabled":false,"peer_inactivity_expiration":600,"regular_users_view_blocked":true,"groups_propagation_enabled":true,"routing_peer_dns_resolution_enabled":true,"lazy_connection_enabled":true,"auto_update_version":"disabled","auto_update_always":false,"metrics_push_enabled":false},"domain":"","serial":1}');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE groups (
	id TEXT NOT NULL, 
	account_id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "groups" VALUES('group','account','{"id":"group","account_id":"account","name":"group","peers":["other","peer"],"issued":"api"}');
CREATE TABLE peers (
	id TEXT NOT NULL, 
	account_id TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "peers" VALUES('peer','account','L/wdBjh++Lt6NDErbGw/aRVQaEUIw85+44iTdaGNb6A=','{"id":"peer","account_id":"account","key":"L/wdBjh++Lt6NDErbGw/aRVQaEUIw85+44iTdaGNb6A=","ip":"100.64.0.1","ipv6":"fd12:3456::1","name":"peer","dns_label":"peer","meta":{"hostname":"peer","go_os":"","kernel":"","core":"","platform":"","os":"","os_version":"","kernel_version":"","agent_version":"","ui_version":"","serial_number":"","product_name":"","manufacturer":"","network_addresses":[["192.0.2.1/24",""]],"files":[],"flags":{"rosenpass_enabled":false,"rosenpass_permissive":false,"server_ssh_allowed":false,"disable_client_routes":false,"disable_server_routes":false,"disable_dns":false,"disable_firewall":false,"block_lan_access":false,"block_inbound":false,"lazy_connection_enabled":false,"disable_ipv6":false},"capabilities":[1,2]},"created_at":"2026-01-02T03:04:05.678901Z","last_login":"2026-01-02T03:04:05.678901Z","last_seen":"2026-01-02T03:04:05.678901Z","user_id":null,"setup_key_id":"key","ssh_key":"","ssh_enabled":false,"ephemeral":false,"connected":false,"connection_ip":"","login_expiration_enabled":false,"inactivity_expiration_enabled":false,"login_expired":false,"extra_dns_labels":[]}');
CREATE TABLE personal_access_tokens (
	id TEXT NOT NULL, 
	account_id TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	hashed TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "personal_access_tokens" VALUES('token','account','user','3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0','{"id":"token","account_id":"account","user_id":"user","hashed":"3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0","name":"token","created_at":"2026-01-02T03:04:05.678901Z","created_by":"user","expires_at":"2026-02-01T03:04:05.678901Z","last_used":null}');
CREATE TABLE policies (
	id TEXT NOT NULL, 
	account_id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "policies" VALUES('policy','account','{"id":"policy","account_id":"account","name":"policy","description":"","enabled":true,"rules":[{"id":"policy","name":"policy","description":"","enabled":true,"action":"accept","bidirectional":true,"protocol":"tcp","ports":["22","80"],"port_ranges":[{"start":1000,"end":2000}],"sources":["a","b"],"destinations":[],"source_peer":null,"destination_peer":"peer","authorized_groups":{"a":["root"]}}],"source_posture_checks":[]}');
CREATE TABLE setup_keys (
	id TEXT NOT NULL, 
	account_id TEXT NOT NULL, 
	hashed TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "setup_keys" VALUES('key','account','2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683','{"id":"key","account_id":"account","hashed":"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683","hint":"ABCDE****","name":"key","type":"reusable","created_at":"2026-01-02T03:04:05.678901Z","updated_at":"2026-01-02T03:04:05.678901Z","expires_at":null,"auto_groups":[],"usage_limit":0,"used_times":0,"last_used":null,"revoked":false,"ephemeral":false,"allow_extra_dns_labels":false}');
CREATE TABLE users (
	id TEXT NOT NULL, 
	account_id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(account_id) REFERENCES accounts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "users" VALUES('user','account','{"id":"user","account_id":"account","role":"owner","email":"user@example.test","name":"","password_hash":"","is_service_user":false,"is_blocked":false,"auto_groups":[],"created_at":null,"last_login":null}');
CREATE INDEX ix_users_account_id ON users (account_id);
CREATE INDEX ix_groups_account_id ON groups (account_id);
CREATE INDEX ix_policies_account_id ON policies (account_id);
CREATE INDEX ix_personal_access_tokens_account_id ON personal_access_tokens (account_id);
CREATE INDEX ix_setup_keys_account_id ON setup_keys (account_id);
CREATE INDEX ix_peers_account_id ON peers (account_id);
CREATE INDEX ix_personal_access_tokens_user_id ON personal_access_tokens (user_id);
CREATE UNIQUE INDEX ix_personal_access_tokens_hashed ON personal_access_tokens (hashed);
CREATE UNIQUE INDEX ix_setup_keys_hashed ON setup_keys (hashed);
CREATE UNIQUE INDEX ix_peers_key ON peers ("key");
COMMIT;
