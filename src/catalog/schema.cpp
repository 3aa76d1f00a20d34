// Longer than most files here: it holds the text of the whole schema.
#include "catalog/schema.hpp"

#include <fmt/format.h>

#include <charconv>
#include <span>
#include <string>

namespace syncropy {
namespace {

// Names are bytes, so every text column is CHARACTER SET NONE: it shows as text whatever the reader's character set is, and an index on it
// serves `=` and STARTING WITH alike. Firebird takes 'a' and 'a ' for equal; where names must be told apart OCTET_LENGTH is compared too.
//
// A version of a path is one row of `entry`, valid for the datasets from_sequence to to_sequence. The path is whole in each row: most paths
// have one version, prefix compression makes the index as small as one of folder numbers and names, a person's `path = '/etc/passwd'` or
// `path STARTING WITH '/var/www/'` is one index range, and recording looks no folder up. What repeats (accounts, ACLs, extended
// attributes, link targets, extents) is a row or a set of rows of its own, found again by its SHA-256, per client: two clients never wait
// for each other's rows, and forgetting a client leaves nothing behind.
constexpr const char* first_version[] = {
    "CREATE SEQUENCE client_ids",
    R"(CREATE TABLE client (
      id INTEGER NOT NULL CONSTRAINT client_key PRIMARY KEY,
      name VARCHAR(64) CHARACTER SET NONE NOT NULL CONSTRAINT client_name UNIQUE,
      last_account INTEGER DEFAULT 0 NOT NULL,
      last_set INTEGER DEFAULT 0 NOT NULL))",
    R"(CREATE TABLE dataset (
      client INTEGER NOT NULL,
      sequence_number BIGINT NOT NULL,
      tier SMALLINT NOT NULL,
      name VARCHAR(40) CHARACTER SET NONE NOT NULL,
      label VARCHAR(50) CHARACTER SET NONE NOT NULL,
      started BIGINT NOT NULL, started_ns INTEGER NOT NULL,
      finished BIGINT NOT NULL, finished_ns INTEGER NOT NULL,
      completeness SMALLINT NOT NULL,
      acl SMALLINT NOT NULL,
      entries BIGINT NOT NULL, files BIGINT NOT NULL, bytes BIGINT NOT NULL,
      new_files BIGINT NOT NULL, new_bytes BIGINT NOT NULL,
      problems BIGINT NOT NULL,
      CONSTRAINT dataset_key PRIMARY KEY (client, sequence_number),
      CONSTRAINT dataset_label UNIQUE (client, label)))",
    R"(CREATE TABLE account (
      client INTEGER NOT NULL,
      id INTEGER NOT NULL,
      digest CHAR(32) CHARACTER SET OCTETS NOT NULL,
      number BIGINT NOT NULL,
      name VARCHAR(255) CHARACTER SET NONE NOT NULL,
      CONSTRAINT account_key PRIMARY KEY (client, id),
      CONSTRAINT account_digest UNIQUE (client, digest)))",
    R"(CREATE TABLE attribute_set (
      client INTEGER NOT NULL,
      id INTEGER NOT NULL,
      digest CHAR(32) CHARACTER SET OCTETS NOT NULL,
      kind SMALLINT NOT NULL,
      capabilities VARCHAR(1000) CHARACTER SET NONE,
      CONSTRAINT attribute_set_key PRIMARY KEY (client, id),
      CONSTRAINT attribute_set_digest UNIQUE (client, digest)))",
    R"(CREATE TABLE acl_entry (
      client INTEGER NOT NULL,
      set_id INTEGER NOT NULL,
      place INTEGER NOT NULL,
      tag SMALLINT NOT NULL,
      permissions SMALLINT NOT NULL,
      number BIGINT,
      name VARCHAR(255) CHARACTER SET NONE,
      CONSTRAINT acl_entry_key PRIMARY KEY (client, set_id, place)))",
    R"(CREATE TABLE xattr (
      client INTEGER NOT NULL,
      set_id INTEGER NOT NULL,
      place INTEGER NOT NULL,
      name VARCHAR(255) CHARACTER SET NONE NOT NULL,
      value_text VARCHAR(2000) CHARACTER SET NONE,
      long_value BLOB SUB_TYPE BINARY,
      CONSTRAINT xattr_key PRIMARY KEY (client, set_id, place)))",
    R"(CREATE TABLE extent (
      client INTEGER NOT NULL,
      set_id INTEGER NOT NULL,
      place INTEGER NOT NULL,
      start_byte BIGINT NOT NULL,
      length_bytes BIGINT NOT NULL,
      CONSTRAINT extent_key PRIMARY KEY (client, set_id, place)))",
    R"(CREATE TABLE link_target (
      client INTEGER NOT NULL,
      set_id INTEGER NOT NULL,
      target VARCHAR(4095) CHARACTER SET NONE NOT NULL,
      CONSTRAINT link_target_key PRIMARY KEY (client, set_id)))",
    R"(CREATE TABLE entry (
      client INTEGER NOT NULL,
      path VARCHAR(1000) CHARACTER SET NONE NOT NULL,
      from_sequence BIGINT NOT NULL,
      to_sequence BIGINT NOT NULL,
      kind SMALLINT NOT NULL,
      mode SMALLINT NOT NULL,
      owner_account INTEGER NOT NULL,
      group_account INTEGER NOT NULL,
      size_bytes BIGINT NOT NULL,
      mtime BIGINT NOT NULL, mtime_ns INTEGER NOT NULL,
      ctime BIGINT NOT NULL, ctime_ns INTEGER NOT NULL,
      inode BIGINT NOT NULL,
      filesystem BIGINT NOT NULL,
      links BIGINT NOT NULL,
      device_major BIGINT, device_minor BIGINT,
      flags SMALLINT NOT NULL,
      digest CHAR(32) CHARACTER SET OCTETS,
      link_target INTEGER,
      access_acl INTEGER,
      default_acl INTEGER,
      xattrs INTEGER,
      extents INTEGER,
      long_path BLOB SUB_TYPE BINARY))",
    "CREATE INDEX entry_path ON entry (client, path)",

    // to_sequence + 0 keeps entry_end, made for expiring, out of people's queries: nearly all rows end at the same place.
    R"(CREATE VIEW datasets (client, dataset, tier, name, sequence_number, started, finished, complete, acls_read,
        entries, files, bytes, new_files, new_bytes, problems) AS
      SELECT c.name, d.label, DECODE(d.tier, 1, 'hour', 2, 'day', 3, 'week', 4, 'month'), d.name, d.sequence_number,
        CASE WHEN d.started BETWEEN -62135596800 AND 253402300799
          THEN DATEADD(d.started SECOND TO TIMESTAMP '1970-01-01 00:00:00') END,
        CASE WHEN d.finished BETWEEN -62135596800 AND 253402300799
          THEN DATEADD(d.finished SECOND TO TIMESTAMP '1970-01-01 00:00:00') END,
        DECODE(d.completeness, 1, 'yes', 'no'), DECODE(d.acl, 0, 'no', 'yes'),
        d.entries, d.files, d.bytes, d.new_files, d.new_bytes, d.problems
      FROM dataset d JOIN client c ON c.id = d.client)",
    R"(CREATE VIEW versions (client_id, client, path, from_sequence, to_sequence, type_letter, mode_octal, owner_name, owner_number, group_name,
        group_number, size_bytes, mtime, mtime_ns, ctime, digest, link_target, capabilities, device_major, device_minor, inode, filesystem, links,
        racy, unstable, unread, access_acl, default_acl, xattrs, extents, long_path) AS
      SELECT c.id, c.name, e.path, e.from_sequence, e.to_sequence + 0,
        SUBSTRING('-dlbcps' FROM e.kind FOR 1),
        CAST(MOD(e.mode / 512, 8) || MOD(e.mode / 64, 8) || MOD(e.mode / 8, 8) || MOD(e.mode, 8) AS VARCHAR(4) CHARACTER SET NONE),
        o.name, o.number, g.name, g.number, e.size_bytes,
        CASE WHEN e.mtime BETWEEN -62135596800 AND 253402300799
          THEN DATEADD(e.mtime_ns / 1000000 MILLISECOND TO DATEADD(e.mtime SECOND TO TIMESTAMP '1970-01-01 00:00:00')) END,
        e.mtime_ns,
        CASE WHEN e.ctime BETWEEN -62135596800 AND 253402300799
          THEN DATEADD(e.ctime_ns / 1000000 MILLISECOND TO DATEADD(e.ctime SECOND TO TIMESTAMP '1970-01-01 00:00:00')) END,
        CAST(LOWER(REPLACE(UUID_TO_CHAR(SUBSTRING(e.digest FROM 1 FOR 16)) || UUID_TO_CHAR(SUBSTRING(e.digest FROM 17 FOR 16)), '-', ''))
          AS VARCHAR(64) CHARACTER SET NONE),
        t.target, x.capabilities, e.device_major, e.device_minor, e.inode, e.filesystem, e.links,
        MOD(e.flags, 2), MOD(e.flags / 2, 2), MOD(e.flags / 4, 2),
        e.access_acl, e.default_acl, e.xattrs, e.extents, e.long_path
      FROM client c
      JOIN entry e ON e.client = c.id
      LEFT JOIN account o ON o.client = e.client AND o.id = e.owner_account
      LEFT JOIN account g ON g.client = e.client AND g.id = e.group_account
      LEFT JOIN link_target t ON t.client = e.client AND t.set_id = e.link_target
      LEFT JOIN attribute_set x ON x.client = e.client AND x.id = e.xattrs)",
    R"(CREATE VIEW acls (client, dataset, sequence_number, path, acl_kind, tag, account_name, account_number, permissions) AS
      SELECT c.name, d.label, d.sequence_number, e.path, CAST('access' AS VARCHAR(7) CHARACTER SET NONE),
        DECODE(a.tag, 1, 'owner', 2, 'user', 3, 'owning group', 4, 'group', 5, 'mask', 6, 'other'), a.name, a.number,
        CAST(IIF(MOD(a.permissions / 4, 2) = 1, 'r', '-') || IIF(MOD(a.permissions / 2, 2) = 1, 'w', '-') ||
          IIF(MOD(a.permissions, 2) = 1, 'x', '-') AS VARCHAR(3) CHARACTER SET NONE)
      FROM dataset d
      JOIN client c ON c.id = d.client
      JOIN entry e ON e.client = d.client AND d.sequence_number BETWEEN e.from_sequence AND e.to_sequence + 0
      JOIN acl_entry a ON a.client = e.client AND a.set_id = e.access_acl
      UNION ALL
      SELECT c.name, d.label, d.sequence_number, e.path, CAST('default' AS VARCHAR(7) CHARACTER SET NONE),
        DECODE(a.tag, 1, 'owner', 2, 'user', 3, 'owning group', 4, 'group', 5, 'mask', 6, 'other'), a.name, a.number,
        CAST(IIF(MOD(a.permissions / 4, 2) = 1, 'r', '-') || IIF(MOD(a.permissions / 2, 2) = 1, 'w', '-') ||
          IIF(MOD(a.permissions, 2) = 1, 'x', '-') AS VARCHAR(3) CHARACTER SET NONE)
      FROM dataset d
      JOIN client c ON c.id = d.client
      JOIN entry e ON e.client = d.client AND d.sequence_number BETWEEN e.from_sequence AND e.to_sequence + 0
      JOIN acl_entry a ON a.client = e.client AND a.set_id = e.default_acl)",
    R"(CREATE VIEW xattrs (client, dataset, sequence_number, path, name, value_text, long_value) AS
      SELECT c.name, d.label, d.sequence_number, e.path, x.name, x.value_text, x.long_value
      FROM dataset d
      JOIN client c ON c.id = d.client
      JOIN entry e ON e.client = d.client AND d.sequence_number BETWEEN e.from_sequence AND e.to_sequence + 0
      JOIN xattr x ON x.client = e.client AND x.set_id = e.xattrs)",

    "COMMENT ON TABLE client IS 'One row a machine. last_account and last_set are the highest id in use in account and attribute_set.'",
    "COMMENT ON TABLE dataset IS 'Recorded datasets; order and retention follow sequence_number. See the view DATASETS.'",
    "COMMENT ON TABLE entry IS 'One row a version of a path, valid for the datasets from_sequence to to_sequence (9223372036854775807: still "
    "valid). inode is the bit pattern of an unsigned number. See the views FILES and FILE_HISTORY.'",
    "COMMENT ON TABLE account IS 'A user or group of a client: number and name as they were there.'",
    "COMMENT ON TABLE attribute_set IS 'What entries share: 1 an ACL, 2 extended attributes, 3 data extents, 4 a link target. digest is the "
    "SHA-256 of the content by which it is found again.'",
    "COMMENT ON TABLE acl_entry IS 'The entries of an ACL. See the view ACLS.'",
    "COMMENT ON TABLE xattr IS 'The attributes of a set; long_value instead of value_text above 2000 bytes. See the view XATTRS.'",
    "COMMENT ON TABLE extent IS 'Where a sparse file holds data; the rest is holes. A set without rows: nothing but one hole.'",
    "COMMENT ON TABLE link_target IS 'What a symbolic link says.'",
    "COMMENT ON VIEW datasets IS 'All recorded datasets. DATASET is TIER/NAME, its folder beneath the client; times are UTC.'",
    "COMMENT ON VIEW versions IS 'Every version of every path with names for numbers; the other views rest on it.'",
    "COMMENT ON VIEW acls IS 'One row an ACL entry of a path in a dataset: who had what. ACL_KIND is access or default.'",
    "COMMENT ON VIEW xattrs IS 'One row an extended attribute of a path in a dataset; LONG_VALUE instead of VALUE_TEXT above 2000 bytes.'",
};

// What a view says depends on the datasets that remain, and not on those that have expired: a catalog made again from the manifests says the same.
constexpr const char* second_version[] = {
    R"(CREATE OR ALTER VIEW files (client, dataset, tier, name, sequence_number, path, type_letter, mode_octal, owner_name, owner_number, group_name,
        group_number, size_bytes, mtime, mtime_ns, ctime, digest, link_target, capabilities, device_major, device_minor, inode, filesystem, links,
        racy, unstable, unread, sparse, long_path) AS
      SELECT v.client, d.label, DECODE(d.tier, 1, 'hour', 2, 'day', 3, 'week', 4, 'month'), d.name, d.sequence_number,
        v.path, v.type_letter, v.mode_octal, v.owner_name, v.owner_number, v.group_name, v.group_number, v.size_bytes, v.mtime, v.mtime_ns,
        v.ctime, v.digest, v.link_target, v.capabilities, v.device_major, v.device_minor, v.inode, v.filesystem, v.links,
        IIF(d.sequence_number = v.from_sequence, v.racy, 0), v.unstable, v.unread, IIF(v.extents IS NULL, 0, 1), v.long_path
      FROM dataset d
      JOIN versions v ON v.client_id = d.client AND d.sequence_number BETWEEN v.from_sequence AND v.to_sequence)",

    R"(CREATE OR ALTER VIEW file_history (client, path, first_sequence, last_sequence, first_dataset, last_dataset, type_letter, mode_octal, owner_name,
        owner_number, group_name, group_number, size_bytes, mtime, mtime_ns, ctime, digest, link_target, capabilities, long_path) AS
      SELECT v.client, v.path,
        (SELECT FIRST 1 d.sequence_number FROM dataset d WHERE d.client = v.client_id AND d.sequence_number >= v.from_sequence
          ORDER BY d.sequence_number),
        IIF(v.to_sequence = 9223372036854775807, NULL, (SELECT FIRST 1 d.sequence_number FROM dataset d
          WHERE d.client = v.client_id AND d.sequence_number <= v.to_sequence ORDER BY d.sequence_number DESC)),
        (SELECT FIRST 1 d.label FROM dataset d WHERE d.client = v.client_id AND d.sequence_number >= v.from_sequence ORDER BY d.sequence_number),
        (SELECT FIRST 1 d.label FROM dataset d WHERE d.client = v.client_id AND d.sequence_number <= v.to_sequence
          ORDER BY d.sequence_number DESC),
        v.type_letter, v.mode_octal, v.owner_name, v.owner_number, v.group_name, v.group_number, v.size_bytes, v.mtime, v.mtime_ns, v.ctime,
        v.digest, v.link_target, v.capabilities, v.long_path
      FROM versions v)",

    "COMMENT ON VIEW files IS 'Every path in every dataset. Always say the client, and the dataset or the sequence_number; fast with path = or "
    "path STARTING WITH. Example: SELECT owner_name, group_name, mode_octal FROM files WHERE client = ''web1'' AND dataset = "
    "''hour/2026-11-22T190500Z'' AND path = ''/etc/passwd'''",
    "COMMENT ON COLUMN files.path IS 'From the root, with a leading slash, as bytes. Above 1000 bytes: its beginning and a SHA-256, and the "
    "whole of it in LONG_PATH.'",
    "COMMENT ON COLUMN files.type_letter IS 'As ls -l shows it: - file, d folder, l symbolic link, b and c devices, p FIFO, s socket.'",
    "COMMENT ON COLUMN files.mode_octal IS 'Four digits, the set-id and sticky bits first: 0644, 4755.'",
    "COMMENT ON COLUMN files.mtime IS 'UTC, to the millisecond; MTIME_NS has the nanoseconds. NULL outside the years 1 to 9999.'",
    "COMMENT ON COLUMN files.digest IS 'SHA-256 of the content, 64 lower-case hexadecimal digits; regular files only.'",
    "COMMENT ON COLUMN files.capabilities IS 'File capabilities as getcap shows them: cap_net_raw=ep.'",
    "COMMENT ON COLUMN files.racy IS '1: changed within two seconds of its reading by this dataset, and read again by the next.'",
    "COMMENT ON COLUMN files.unstable IS '1: changed during each of three readings; the last one is stored.'",
    "COMMENT ON COLUMN files.unread IS '1: could not be read; there is no content.'",
    "COMMENT ON VIEW file_history IS 'The versions of a path with the first and the last remaining dataset that shows each. LAST_SEQUENCE is NULL "
    "while a version is valid. Say client and path.'",
};

// Removing a dataset is two rows; the versions that only it had are deleted later (catalog/trim.hpp), and no view shows them meanwhile.
constexpr const char* third_version[] = {
    R"(CREATE TABLE removed_dataset (
      client INTEGER NOT NULL,
      sequence_number BIGINT NOT NULL,
      CONSTRAINT removed_dataset_key PRIMARY KEY (client, sequence_number)))",
    "COMMENT ON TABLE removed_dataset IS 'Datasets that are gone, and whose versions have not been deleted yet: the next run of the client does that.'",

    R"(CREATE OR ALTER VIEW file_history (client, path, first_sequence, last_sequence, first_dataset, last_dataset, type_letter, mode_octal, owner_name,
        owner_number, group_name, group_number, size_bytes, mtime, mtime_ns, ctime, digest, link_target, capabilities, long_path) AS
      SELECT v.client, v.path,
        (SELECT FIRST 1 d.sequence_number FROM dataset d WHERE d.client = v.client_id AND d.sequence_number >= v.from_sequence
          ORDER BY d.sequence_number),
        IIF(EXISTS (SELECT 1 FROM dataset d WHERE d.client = v.client_id AND d.sequence_number > v.to_sequence), (SELECT FIRST 1 d.sequence_number
          FROM dataset d WHERE d.client = v.client_id AND d.sequence_number <= v.to_sequence ORDER BY d.sequence_number DESC), NULL),
        (SELECT FIRST 1 d.label FROM dataset d WHERE d.client = v.client_id AND d.sequence_number >= v.from_sequence ORDER BY d.sequence_number),
        (SELECT FIRST 1 d.label FROM dataset d WHERE d.client = v.client_id AND d.sequence_number <= v.to_sequence
          ORDER BY d.sequence_number DESC),
        v.type_letter, v.mode_octal, v.owner_name, v.owner_number, v.group_name, v.group_number, v.size_bytes, v.mtime, v.mtime_ns, v.ctime,
        v.digest, v.link_target, v.capabilities, v.long_path
      FROM versions v
      WHERE EXISTS (SELECT 1 FROM dataset d WHERE d.client = v.client_id AND d.sequence_number BETWEEN v.from_sequence AND v.to_sequence))",

    "COMMENT ON VIEW file_history IS 'The versions of a path with the first and the last remaining dataset that shows each. LAST_SEQUENCE is NULL "
    "while a version is valid. Say client and path. Once a dataset was removed, two rows may say the same until the next run.'",
};

// Step N takes a database from version N to N + 1.
constexpr std::span<const char* const> steps[] = {first_version, second_version, third_version};

constexpr const char* not_ours = "name an empty or a new database as database.dbname";

// The version is a view: like all other definitions it then appears with the one commit of its step. What it says is read as a row of the system's
// table and not by asking it: Firebird looks up a view's definition without regard to transactions, and shows that of a step that another
// program has not committed, whose tables are not there yet.
int version_of(const firebird::Attachment& attachment) {
  firebird::Transaction transaction(attachment, firebird::Isolation::read);
  firebird::Statement relations(transaction, "SELECT COUNT(*), COUNT(CASE WHEN rdb$relation_name = 'SYNCROPY_SCHEMA' THEN 1 END) "
                                             "FROM rdb$relations WHERE rdb$system_flag = 0");
  relations.open(transaction);
  if (!relations.fetch() || relations.integer(0) == 0) return 0;
  if (relations.integer(1) == 0)
    throw Error(ExitStatus::data, attachment.subject() + ": the database holds tables, but no catalog of syncropy", not_ours);
  relations.close();
  firebird::Statement source(transaction, "SELECT rdb$view_source FROM rdb$relations WHERE rdb$relation_name = 'SYNCROPY_SCHEMA'");
  source.open(transaction);
  if (!source.fetch()) return 0;
  const std::string text = source.text(transaction, 0, 1'000);
  const std::size_t digits = text.find_first_of("0123456789");
  int version = 0;
  if (digits == std::string::npos || std::from_chars(text.data() + digits, text.data() + text.size(), version).ec != std::errc())
    throw Error(ExitStatus::data, attachment.subject() + ": the view SYNCROPY_SCHEMA does not tell the version of the catalog", "make the catalog anew with 'syncropy rebuild-catalog'");
  return version;
}

}  // namespace

int check_schema(const firebird::Attachment& attachment, int known_version) {
  const int version = version_of(attachment);
  if (version > known_version)
    throw Error(ExitStatus::data,
                fmt::format("{}: the catalog has schema version {}, and this program knows versions up to {}", attachment.subject(), version,
                            known_version),
                "install the newer syncropy that upgraded it");
  return version;
}

void upgrade_schema(const firebird::Attachment& attachment, int known_version) {
  for (int version = version_of(attachment); version < known_version; ++version) {
    firebird::Transaction transaction(attachment, firebird::Isolation::write);
    transaction.execute(fmt::format("CREATE OR ALTER VIEW syncropy_schema (version) AS SELECT {} FROM rdb$database", version + 1));
    for (const char* statement : steps[version]) transaction.execute(statement);
    transaction.commit();
  }
}

}  // namespace syncropy
