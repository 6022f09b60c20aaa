#include "services/backupctl/old_server/rows.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "crypto/public_key.h"
#include "services/backupctl/old_server/python_bytes.h"

namespace backup::ctl::old_server {
namespace {

using Row = std::vector<Cell>;

constexpr size_t kHexIdSize = 2 * ClientId::kSize;
// Seconds since 1970 up to the year 5138; more are milliseconds.
constexpr double kMaxSeconds = 1e11;

// What we call the columns.
constexpr absl::string_view kId = "id";
constexpr absl::string_view kName = "name";
constexpr absl::string_view kPublicKey = "public_key";
constexpr absl::string_view kLastSeen = "last_seen";
constexpr absl::string_view kAesKey = "aes_key";
constexpr absl::string_view kFileName = "file_name";
constexpr absl::string_view kPathName = "path_name";
constexpr absl::string_view kVerified = "verified";
constexpr absl::string_view kAllNames[] = {kId,     kName,     kPublicKey, kLastSeen,
                                           kAesKey, kFileName, kPathName,  kVerified};

// Whether it says that there is nothing: NULL, 0, or what a column of text makes of these.
bool IsEmpty(const Cell& cell) {
  double number = 1;
  switch (cell.type) {
    case Cell::Type::kNull:
      return true;
    case Cell::Type::kInteger:
      return cell.integer == 0;
    case Cell::Type::kReal:
      return cell.real == 0;
    case Cell::Type::kText:
      return cell.bytes.empty() || cell.bytes == "None" ||
             (absl::SimpleAtod(cell.bytes, &number) && number == 0);
    case Cell::Type::kBlob:
      break;
  }
  return cell.bytes.empty();
}

bool HasBytes(const Cell& cell) {
  return cell.type == Cell::Type::kText || cell.type == Cell::Type::kBlob;
}

std::string Normalized(absl::string_view name) {
  std::string normalized;
  for (const char c : name) {
    if (c != ' ' && c != '_' && c != '-') normalized.push_back(absl::ascii_tolower(c));
  }
  return normalized;
}

std::optional<std::string> FromHex(absl::string_view digits) {
  if (digits.empty() || digits.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    unsigned value = 0;
    const char* const end = digits.data() + i + 2;
    if (std::from_chars(digits.data() + i, end, value, 16).ptr != end) return std::nullopt;
    bytes.push_back(static_cast<char>(value));
  }
  return bytes;
}

absl::string_view UpToNul(absl::string_view bytes) { return bytes.substr(0, bytes.find('\0')); }

// Which column of a table holds what, by our names.
class Columns {
 public:
  // Takes from `names` what is meant for this table, which is called `kind`; notes in `used` which.
  static absl::StatusOr<Columns> Find(const DatabaseTable& table, absl::string_view kind,
                                      const ColumnNames& names, std::set<size_t>& used) {
    Columns found(table);
    found.ours_.resize(table.columns.size());
    for (size_t i = 0; i < table.columns.size(); ++i) {
      found.ours_[i] = Normalized(table.columns[i]);
      for (size_t n = 0; n < names.size(); ++n) {
        const std::string& theirs = names[n].first;
        if (theirs != Normalized(table.columns[i]) &&
            theirs != absl::StrCat(kind, ".", Normalized(table.columns[i]))) {
          continue;
        }
        found.ours_[i] = names[n].second;
        used.insert(n);
      }
    }
    // A column that was given its meaning takes it from one that is merely called so.
    for (size_t i = 0; i < table.columns.size(); ++i) {
      const bool is_given = found.ours_[i] != Normalized(table.columns[i]);
      for (size_t j = 0; is_given && j < table.columns.size(); ++j) {
        if (j != i && found.ours_[j] == found.ours_[i] &&
            found.ours_[j] == Normalized(table.columns[j])) {
          found.ours_[j].clear();
        }
      }
    }
    for (const absl::string_view name : kAllNames) {
      if (std::count(found.ours_.begin(), found.ours_.end(), Normalized(name)) > 1)
        return found.Error(absl::StrCat("more than one column for ", name), name);
    }
    return found;
  }

  absl::Status Require(absl::string_view name) const {
    if (Has(name)) return absl::OkStatus();
    return Error(absl::StrCat("no column for ", name), name);
  }
  bool Has(absl::string_view name) const { return IndexOf(name) < ours_.size(); }
  // NULL if there is no such column.
  const Cell& Get(const Row& row, absl::string_view name) const {
    static const Cell kNull;
    const size_t index = IndexOf(name);
    return index < row.size() ? row[index] : kNull;
  }

 private:
  explicit Columns(const DatabaseTable& table) : table_(table) {}

  size_t IndexOf(absl::string_view name) const {
    return static_cast<size_t>(std::find(ours_.begin(), ours_.end(), Normalized(name)) -
                               ours_.begin());
  }
  absl::Status Error(absl::string_view what, absl::string_view name) const {
    return absl::InvalidArgumentError(absl::StrCat(
        "the table ", table_.name, " has ", what, "; it has: ", absl::StrJoin(table_.columns, ", "),
        ". --columns THEIRS=", name, " tells"));
  }

  const DatabaseTable& table_;
  std::vector<std::string> ours_;  // Normalized; by column.
};

// A name in a field of fixed size or not: up to its first NUL.
absl::StatusOr<std::string> ReadName(const Cell& cell) {
  if (!HasBytes(cell)) return absl::InvalidArgumentError("has no name");
  std::string name(UpToNul(cell.bytes));
  if (name.empty()) return absl::InvalidArgumentError("has an empty name");
  if (name.size() > kMaxNameSize)
    return absl::InvalidArgumentError("has a name of more than 255 bytes");
  return name;
}

bool IsAllZero(absl::string_view bytes) {
  return bytes.find_first_not_of('\0') == absl::string_view::npos;
}

// The bytes of a key: a blob, or its bytes as text, hex digits or a Python literal. Nothing if
// there is none. A number is a key of no bytes.
std::optional<std::string> ReadKey(const Cell& cell) {
  if (IsEmpty(cell)) return std::nullopt;
  if (!HasBytes(cell)) return "";
  std::string bytes = cell.bytes;
  if (cell.type == Cell::Type::kText) {
    if (auto literal = ParsePythonBytes(cell.bytes)) {
      bytes = *std::move(literal);
    } else if (auto decoded = FromHex(cell.bytes)) {
      bytes = *std::move(decoded);
    }
  }
  if (IsAllZero(bytes)) return std::nullopt;
  return bytes;
}

// As it is kept. The error goes on after "its ".
absl::StatusOr<std::string> CheckPublicKey(std::string bytes) {
  // No key ends in a zero byte.
  while (bytes.size() > crypto::kMaxPublicKeySize && bytes.back() == '\0') bytes.pop_back();
  const absl::StatusOr<crypto::PublicKey> parsed = crypto::PublicKey::Parse(bytes);
  if (parsed.ok()) return parsed->der();
  return absl::InvalidArgumentError(
      absl::StrCat("public key is none (", parsed.status().message(), ")"));
}

absl::Status CheckSessionKey(const std::string& bytes) {
  if (bytes.size() == 16 || bytes.size() == 32) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("AES key has ", bytes.size(), " bytes, not 16 or 32"));
}

// Fills in the client's keys, and what is wrong with them.
void ReadKeys(const Cell& public_key, const Cell& session_key, Client& client) {
  std::vector<std::string> problems;
  const std::optional<std::string> session_bytes = ReadKey(session_key);
  if (session_bytes) {
    const absl::Status checked = CheckSessionKey(*session_bytes);
    if (checked.ok()) client.session_key = *session_bytes;
    if (!checked.ok()) problems.push_back(absl::StrCat("its ", checked.message()));
  }
  const std::optional<std::string> public_bytes = ReadKey(public_key);
  if (public_bytes) {
    absl::StatusOr<std::string> checked = CheckPublicKey(*public_bytes);
    if (checked.ok()) client.public_key = *std::move(checked);
    if (!checked.ok()) problems.push_back(absl::StrCat("its ", checked.status().message()));
  }
  if (session_bytes && !public_bytes) problems.emplace_back("it has an AES key, but no public key");
  if (!session_bytes && public_bytes) problems.emplace_back("it has a public key, but no AES key");
  if (problems.empty()) return;
  // With one of them alone it could neither reconnect nor register anew.
  client.public_key.clear();
  client.key_problem = absl::StrCat(absl::StrJoin(problems, ", "),
                                    ": taken over without keys, which it exchanges when it comes");
}

absl::StatusOr<Client> ReadClient(const Columns& columns, const Row& row, absl::TimeZone zone) {
  Client client;
  const std::optional<ClientId> id = ReadId(columns.Get(row, kId));
  if (!id) return absl::InvalidArgumentError("has no id: neither 16 bytes nor a UUID");
  client.id = *id;
  ASSIGN_OR_RETURN(client.name, ReadName(columns.Get(row, kName)));
  ReadKeys(columns.Get(row, kPublicKey), columns.Get(row, kAesKey), client);
  const Cell& last_seen = columns.Get(row, kLastSeen);
  client.last_seen = ReadTime(last_seen, zone);
  if (!client.last_seen && !IsEmpty(last_seen)) client.note = "when it was last seen is no time";
  return client;
}

// What can be told of a row whose `what` is wrong.
std::string Describe(const Cell& cell, absl::string_view what, size_t number) {
  const std::string row = absl::StrCat("row ", number);
  if (!HasBytes(cell) || UpToNul(cell.bytes).empty()) return row;
  return absl::StrCat(row, ", ", what, " ",
                      NameToText(UpToNul(cell.bytes).substr(0, kMaxNameSize)));
}

void ReadClients(const DatabaseTable& table, const Columns& columns, absl::TimeZone zone,
                 Rows& rows) {
  std::set<ClientId> known;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const absl::StatusOr<Client> client = ReadClient(columns, table.rows[i], zone);
    std::string why(client.status().message());
    if (client.ok() && !known.insert(client->id).second)
      why = absl::StrCat("has the id of a row before it, ", ToUuid(client->id));
    if (why.empty()) {
      rows.clients.push_back(*client);
    } else {
      rows.left_out.push_back({LeftOut::Kind::kClient,
                               Describe(columns.Get(table.rows[i], kName), "name", i + 1), "",
                               why});
    }
  }
  // Of clients of one name the service takes the first: the one that is most likely still there.
  const auto key = [](const Client& client) {
    return std::pair(!client.public_key.empty(), client.last_seen.value_or(absl::InfinitePast()));
  };
  std::stable_sort(rows.clients.begin(), rows.clients.end(),
                   [&](const Client& a, const Client& b) { return key(a) > key(b); });
}

absl::StatusOr<File> ReadFile(const Columns& columns, const Row& row) {
  File file;
  const Cell& path = columns.Get(row, kPathName);
  if (HasBytes(path)) file.path = std::string(UpToNul(path.bytes));
  const std::optional<ClientId> id = ReadId(columns.Get(row, kId));
  if (!id) return absl::InvalidArgumentError("has no client's id: neither 16 bytes nor a UUID");
  file.client = *id;
  ASSIGN_OR_RETURN(file.name,
                   ReadName(columns.Get(row, columns.Has(kFileName) ? kFileName : kPathName)));
  if (file.path.empty()) file.path = file.name;
  const Cell& verified = columns.Get(row, kVerified);
  file.verified = HasBytes(verified) ? verified.bytes != "0" && !IsAllZero(verified.bytes) &&
                                           !absl::EqualsIgnoreCase(verified.bytes, "false")
                                     : !IsEmpty(verified);
  return file;
}

void ReadFiles(const DatabaseTable& table, const Columns& columns, Rows& rows) {
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const Row& row = table.rows[i];
    absl::StatusOr<File> file = ReadFile(columns, row);
    if (!file.ok()) {
      const Cell& path = columns.Get(row, kPathName);
      const Cell& name = columns.Get(row, columns.Has(kFileName) ? kFileName : kPathName);
      rows.left_out.push_back({LeftOut::Kind::kFile, Describe(name, "file", i + 1),
                               HasBytes(path) ? std::string(UpToNul(path.bytes)) : "",
                               std::string(file.status().message())});
      continue;
    }
    rows.tells_verified |= file->verified;
    rows.files.push_back(*std::move(file));
  }
}

}  // namespace

absl::StatusOr<ColumnNames> ParseColumnNames(absl::string_view text) {
  ColumnNames names;
  if (text.empty()) return names;
  for (const absl::string_view pair : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> sides = absl::StrSplit(pair, '=');
    const bool is_pair = sides.size() == 2 && !Normalized(sides[0]).empty();
    const bool is_known = is_pair && std::any_of(std::begin(kAllNames), std::end(kAllNames),
                                                 [&](absl::string_view name) {
                                                   return Normalized(name) == Normalized(sides[1]);
                                                 });
    if (!is_known) {
      return absl::InvalidArgumentError(absl::StrCat("--columns: ", pair,
                                                     " is not THEIRS=OURS, where OURS is one of ",
                                                     absl::StrJoin(kAllNames, ", ")));
    }
    names.emplace_back(Normalized(sides[0]), Normalized(sides[1]));
  }
  return names;
}

std::optional<ClientId> ReadId(const Cell& cell) {
  if (!HasBytes(cell)) return std::nullopt;
  std::string bytes = cell.bytes;
  const bool is_raw = cell.type == Cell::Type::kBlob && bytes.size() == ClientId::kSize;
  if (const auto literal = ParsePythonBytes(bytes); literal && !is_raw) bytes = *literal;
  if (bytes.size() == kHexIdSize) {
    if (auto id = FromHex(bytes)) bytes = *std::move(id);
  } else if (const auto id = FromUuid<ClientId>(bytes)) {
    bytes = std::string(id->bytes());
  }
  std::optional<ClientId> id = ClientId::FromBytes(bytes);
  return id && *id != ClientId() ? id : std::nullopt;
}

std::optional<absl::Time> ReadTime(const Cell& cell, absl::TimeZone zone) {
  // Text may say any year, and "infinite-future".
  const auto is_possible = [](absl::Time time) {
    return time > absl::UnixEpoch() && time <= absl::UnixEpoch() + absl::Seconds(kMaxSeconds);
  };
  double number = cell.type == Cell::Type::kInteger ? static_cast<double>(cell.integer) : cell.real;
  if (HasBytes(cell)) {
    const std::string text(absl::StripAsciiWhitespace(UpToNul(cell.bytes)));
    for (const char* format : {"%Y-%m-%d%ET%H:%M:%E*S%Ez", "%Y-%m-%d %H:%M:%E*S%Ez",
                               "%Y-%m-%d%ET%H:%M:%E*S", "%Y-%m-%d %H:%M:%E*S"}) {
      absl::Time time;
      if (absl::ParseTime(format, text, zone, &time, nullptr))
        return is_possible(time) ? std::optional(time) : std::nullopt;
    }
    if (!absl::SimpleAtod(text, &number)) return std::nullopt;
  }
  if (std::isfinite(number) && number > kMaxSeconds) number /= 1000;
  if (!(number > 0 && number <= kMaxSeconds)) return std::nullopt;
  return absl::FromUnixMicros(std::llround(number * 1e6));
}

absl::StatusOr<Rows> ReadRows(const Database& database, const ColumnNames& columns,
                              absl::TimeZone zone) {
  std::set<size_t> used;
  ASSIGN_OR_RETURN(const Columns clients,
                   Columns::Find(database.clients, "clients", columns, used));
  ASSIGN_OR_RETURN(const Columns files, Columns::Find(database.files, "files", columns, used));
  for (size_t i = 0; i < columns.size(); ++i) {
    if (used.count(i) > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--columns: there is no column ", columns[i].first,
                     "; clients has: ", absl::StrJoin(database.clients.columns, ", "),
                     "; files has: ", absl::StrJoin(database.files.columns, ", ")));
  }
  for (const absl::string_view name : {kId, kName, kPublicKey, kAesKey})
    RETURN_IF_ERROR(clients.Require(name));
  Rows rows;
  ReadClients(database.clients, clients, zone, rows);
  if (database.files.columns.empty()) return rows;
  RETURN_IF_ERROR(files.Require(kId));
  if (!files.Has(kPathName)) RETURN_IF_ERROR(files.Require(kFileName));
  ReadFiles(database.files, files, rows);
  return rows;
}

}  // namespace backup::ctl::old_server
