#include "services/backup/copy_rows.h"

#include <algorithm>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "crypto/sha256.h"

namespace backup {
namespace {

using storage::CatalogRows;
using storage::CatalogTable;
using storage::Row;

constexpr absl::string_view kStoreValues = "store_values";
constexpr absl::string_view kBlobId = "blob_id";

const std::string& BytesOf(const storage::Cell& cell) {
  static const auto* const none = new std::string();
  const auto* const bytes = std::get_if<std::string>(&cell);
  return bytes == nullptr ? *none : *bytes;
}

// Where a table's rows name the blob that they are about, if it is one that has to be there.
std::optional<size_t> BlobColumn(const CatalogTable& table) {
  const absl::string_view name = table.name;
  if (name != "versions" && name != "packs") return std::nullopt;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].name == kBlobId) return i;
  }
  return std::nullopt;
}

void LeaveOut(const CatalogTable& table, const PlaceValues& values, std::vector<Row>& rows) {
  if (table.name != kStoreValues) return;
  std::erase_if(rows, [&](const Row& row) {
    return std::find(values.left_out.begin(), values.left_out.end(), BytesOf(row.front())) !=
           values.left_out.end();
  });
}

// Goes through all rows of a table, a batch at a time, without those that are left out.
absl::StatusOr<TableCopy> Walk(CatalogRows& rows, const CatalogTable& table,
                               const PlaceValues& values, const MigrationListener& listener,
                               const std::function<absl::Status(const std::vector<Row>&)>& take) {
  TableCopy copy;
  copy.table = table.name;
  crypto::Sha256 digest;
  Row after;
  while (true) {
    RETURN_IF_ERROR(listener.check());
    ASSIGN_OR_RETURN(std::vector<Row> batch, rows.Read(table, after));
    if (batch.empty()) break;
    after.assign(batch.back().begin(),
                 batch.back().begin() + static_cast<std::ptrdiff_t>(table.key_size));
    LeaveOut(table, values, batch);
    for (const Row& row : batch) {
      std::string text;
      storage::AppendRow(row, text);
      digest.Update(text);
    }
    copy.rows += std::ssize(batch);
    RETURN_IF_ERROR(take(batch));
    listener.progress(table.name, copy.rows, 0);
  }
  copy.sha256 = absl::BytesToHexString(digest.Finish());
  return copy;
}

absl::Status Differs(absl::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "the catalog did not come back as it was written (", what,
      "): look at the disk, or the server, of the new place; the same command begins it anew"));
}

absl::Status CompareAll(CatalogRows& source, storage::NewCatalogRows& target,
                        const PlaceValues& values, const RowCopyReport& report,
                        const MigrationListener& listener) {
  for (size_t i = 0; i < report.tables.size(); ++i) {
    const CatalogTable& table = storage::CatalogTables()[i];
    ASSIGN_OR_RETURN(const TableCopy back,
                     Walk(target, table, values, listener,
                          [](const std::vector<Row>&) { return absl::OkStatus(); }));
    if (back.rows != report.tables[i].rows || back.sha256 != report.tables[i].sha256)
      return Differs(table.name);
  }
  ASSIGN_OR_RETURN(const std::vector<int64_t> counters, source.ReadCounters());
  ASSIGN_OR_RETURN(const std::vector<int64_t> back, target.ReadCounters());
  for (size_t i = 0; i < counters.size(); ++i) {
    if (counters[i] != back[i]) {
      return Differs(
          absl::StrCat(storage::CatalogCounters()[i], ": ", back[i], " for ", counters[i]));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RowCopyReport> CopyRows(CatalogRows& source, storage::NewCatalogRows& target,
                                       const PlaceValues& values,
                                       const std::function<bool(const BlobId&)>& has_blob,
                                       const MigrationListener& listener) {
  RowCopyReport report;
  for (const CatalogTable& table : storage::CatalogTables()) {
    const std::optional<size_t> blob_column = BlobColumn(table);
    const auto take = [&](const std::vector<Row>& rows) -> absl::Status {
      for (const Row& row : rows) {
        const std::optional<BlobId> id =
            blob_column ? BlobId::FromBytes(BytesOf(row[*blob_column])) : std::nullopt;
        if (!id || has_blob(*id)) continue;
        ++report.missing_count;
        if (report.missing.size() < BlobCopyReport::kMaxNamed) report.missing.push_back(ToHex(*id));
      }
      return rows.empty() ? absl::OkStatus() : target.Add(table, rows);
    };
    ASSIGN_OR_RETURN(TableCopy copy, Walk(source, table, values, listener, take));
    report.tables.push_back(std::move(copy));
    if (table.name != kStoreValues) continue;
    std::vector<Row> given;
    for (const auto& [name, value] : values.given) given.push_back({name, value});
    if (!given.empty()) RETURN_IF_ERROR(target.Add(table, given));
  }
  ASSIGN_OR_RETURN(const std::vector<int64_t> counters, source.ReadCounters());
  RETURN_IF_ERROR(target.SetCounters(counters));
  RETURN_IF_ERROR(CompareAll(source, target, values, report, listener));
  return report;
}

}  // namespace backup
