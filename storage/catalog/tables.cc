#include "storage/catalog/tables.h"

#include <iterator>

#include "absl/strings/str_cat.h"

namespace backup::storage {
namespace {

constexpr auto kNumber = CatalogColumn::Kind::kNumber;
constexpr auto kFlag = CatalogColumn::Kind::kFlag;
constexpr auto kBytes = CatalogColumn::Kind::kBytes;

// Of tables whose rows hold content, of up to 64 KiB each as a rule, and of all others.
constexpr int kFewRows = 64;
constexpr int kManyRows = 2000;

std::vector<CatalogTable> ClientTables() {
  return {
      {"clients",
       {{"client_id", kBytes},
        {"name", kBytes},
        {"create_time", kNumber},
        {"last_seen_time", kNumber},
        {"public_key", kBytes},
        {"sealed_session_key", kBytes},
        {"session_key_bits", kNumber},
        {"last_verified_time", kNumber},
        {"family", kBytes},
        {"header_version", kNumber},
        {"framing", kBytes},
        {"file_style", kBytes},
        {"connection_style", kBytes},
        {"last_protocol_error", kBytes},
        {"last_protocol_error_time", kNumber},
        {"checksum_kind", kNumber},
        {"checksum_refusals", kNumber},
        {"resends", kNumber},
        {"retain_until", kNumber},
        {"delete_time", kNumber},
        {"file_count", kNumber},
        {"version_count", kNumber},
        {"verified_versions", kNumber},
        {"abandoned_versions", kNumber},
        {"stored_bytes", kNumber},
        {"kept_bytes", kNumber},
        {"trash_versions", kNumber},
        {"trash_bytes", kNumber},
        {"trash_files", kNumber}},
       1,
       kManyRows},
      {"files",
       {{"file_id", kNumber},
        {"client_id", kBytes},
        {"name", kBytes},
        {"version_count", kNumber},
        {"last_version_id", kNumber}},
       1,
       kManyRows},
      {"versions",
       {{"version_id", kNumber},   {"file_id", kNumber},       {"size_bytes", kNumber},
        {"encoded_size", kNumber}, {"checksum_kind", kNumber}, {"checksum", kNumber},
        {"sha256", kBytes},        {"state", kNumber},         {"receive_time", kNumber},
        {"arrive_time", kNumber},  {"verify_time", kNumber},   {"form", kNumber},
        {"upload_id", kBytes},     {"blob_id", kBytes},        {"blob_size", kNumber},
        {"kept_bytes", kNumber},   {"chunk_no", kNumber},      {"recipe_id", kNumber},
        {"retain_until", kNumber}, {"delete_time", kNumber}},
       1,
       kManyRows},
      {"inline_contents", {{"version_id", kNumber}, {"content", kBytes}}, 1, kFewRows},
      {"damaged_versions", {{"version_id", kNumber}}, 1, kManyRows},
  };
}

std::vector<CatalogTable> ContentTables() {
  return {
      {"pending_blobs",
       {{"blob_id", kBytes}, {"owner", kBytes}, {"lease_end", kNumber}},
       1,
       kManyRows},
      {"dropped_blobs", {{"blob_id", kBytes}}, 1, kManyRows},
      {"set_aside_blobs", {{"blob_id", kBytes}}, 1, kManyRows},
      {"packs",
       {{"pack_id", kNumber},
        {"blob_id", kBytes},
        {"size_bytes", kNumber},
        {"footer_bytes", kNumber},
        {"form", kNumber},
        {"live_bytes", kNumber},
        {"waiting_bytes", kNumber},
        {"damaged_bytes", kNumber},
        {"condemned_epoch", kNumber},
        {"wrapped_key", kBytes}},
       1,
       kManyRows},
      {"chunks",
       {{"chunk_no", kNumber},
        {"chunk_id", kBytes},
        {"size_bytes", kNumber},
        {"refs", kNumber},
        {"stored_size", kNumber},
        {"form", kNumber},
        {"coding", kNumber},
        {"waits", kFlag},
        {"is_damaged", kFlag},
        {"is_condemned", kFlag},
        {"pack_id", kNumber},
        {"place", kNumber},
        {"pack_offset", kNumber}},
       1,
       kManyRows},
      {"chunk_payloads", {{"chunk_no", kNumber}, {"payload", kBytes}}, 1, kFewRows},
      {"recipes",
       {{"recipe_id", kNumber}, {"size_bytes", kNumber}, {"kept_bytes", kNumber}},
       1,
       kManyRows},
      {"recipe_parts",
       {{"recipe_id", kNumber}, {"first_offset", kNumber}, {"entries", kBytes}},
       2,
       kFewRows},
      {"pending_recipes",
       {{"recipe_id", kNumber}, {"owner", kBytes}, {"lease_end", kNumber}},
       1,
       kManyRows},
      {"dropped_recipes", {{"recipe_id", kNumber}}, 1, kManyRows},
      {"owner_epochs",
       {{"owner", kBytes}, {"epoch", kNumber}, {"lease_end", kNumber}},
       1,
       kManyRows},
  };
}

std::vector<CatalogTable> ServiceTables() {
  return {
      {"store_values", {{"name", kBytes}, {"value", kBytes}}, 1, kFewRows},
      {"jobs",
       {{"name", kBytes},
        {"cursor", kBytes},
        {"last_start_time", kNumber},
        {"last_success_time", kNumber},
        {"last_error", kBytes},
        {"last_count", kNumber},
        {"total_count", kNumber}},
       1,
       kManyRows},
      {"audit_entries",
       {{"number", kNumber},
        {"time", kNumber},
        {"actor", kBytes},
        {"role", kBytes},
        {"peer", kBytes},
        {"action", kBytes},
        {"client_id", kBytes},
        {"object", kBytes},
        {"version_id", kNumber},
        {"outcome", kBytes},
        {"detail", kBytes},
        {"chain", kBytes}},
       1,
       kManyRows},
      {"retention_policies",
       {{"client_id", kBytes},
        {"pattern", kBytes},
        {"keep_last", kNumber},
        {"keep_within", kNumber},
        {"keep_hourly", kNumber},
        {"keep_daily", kNumber},
        {"keep_weekly", kNumber},
        {"keep_monthly", kNumber},
        {"keep_yearly", kNumber}},
       2,
       kManyRows},
      {"clock_notes",
       {{"id", kNumber},
        {"base_time", kNumber},
        {"base_uptime", kNumber},
        {"boot_id", kBytes},
        {"newest_time", kNumber},
        {"distrusted_since", kNumber},
        {"distrust", kBytes}},
       1,
       kManyRows},
      {"size_notes",
       {{"time", kNumber}, {"disk_bytes", kNumber}, {"stored_bytes", kNumber}},
       1,
       kManyRows},
      {"quotas",
       {{"client_id", kBytes},
        {"kind", kNumber},
        {"soft_bytes", kNumber},
        {"hard_bytes", kNumber},
        {"soft_files", kNumber},
        {"hard_files", kNumber}},
       2,
       kManyRows},
      {"bans",
       {{"network", kBytes},
        {"start_time", kNumber},
        {"end_time", kNumber},
        {"source", kNumber},
        {"author", kBytes},
        {"reason", kBytes},
        {"strikes", kNumber}},
       1,
       kManyRows},
  };
}

}  // namespace

const std::vector<CatalogTable>& CatalogTables() {
  static const auto* const tables = [] {
    auto* const all = new std::vector<CatalogTable>(ClientTables());
    for (std::vector<CatalogTable> more : {ContentTables(), ServiceTables()})
      std::move(more.begin(), more.end(), std::back_inserter(*all));
    return all;
  }();
  return *tables;
}

const std::vector<const char*>& CatalogCounters() {
  static const auto* const counters = new std::vector<const char*>{"clients",
                                                                   "files",
                                                                   "versions",
                                                                   "verified_versions",
                                                                   "abandoned_versions",
                                                                   "stored_bytes",
                                                                   "blob_bytes",
                                                                   "chunks",
                                                                   "unique_bytes",
                                                                   "compressed_bytes",
                                                                   "waiting_bytes",
                                                                   "packs",
                                                                   "pack_bytes",
                                                                   "pack_live_bytes",
                                                                   "unmoved_versions",
                                                                   "healed_chunks",
                                                                   "healed_versions",
                                                                   "trash_clients",
                                                                   "trash_versions",
                                                                   "trash_bytes",
                                                                   "trash_files",
                                                                   "dropped_blobs",
                                                                   "dropped_recipes",
                                                                   "epoch",
                                                                   "damage_epoch",
                                                                   "next_version_id",
                                                                   "last_pack_id",
                                                                   "last_chunk_no",
                                                                   "last_recipe_id"};
  return *counters;
}

std::vector<std::string> ColumnNames(const CatalogTable& table, size_t count) {
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) names.emplace_back(table.columns[i].name);
  return names;
}

void AppendRow(const Row& row, std::string& out) {
  for (const Cell& cell : row) {
    if (const auto* const number = std::get_if<int64_t>(&cell)) {
      absl::StrAppend(&out, "n", *number, ";");
    } else if (const auto* const bytes = std::get_if<std::string>(&cell)) {
      absl::StrAppend(&out, "b", bytes->size(), ";", *bytes);
    } else {
      out.push_back('-');
    }
  }
  out.push_back('\n');
}

}  // namespace backup::storage
