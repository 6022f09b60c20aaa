#include "services/backupctl/old_server/rows.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/backupctl/old_server/python_bytes.h"
#include "services/backupctl/testing/status_says.h"

namespace backup::ctl::old_server {
namespace {

using ::backup::ctl::testing::Says;
using ::backup::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kUuid[] = "58ddc090-7a8f-4b23-81fd-c698c2331dc8";
constexpr char kHexId[] = "58ddc0907a8f4b2381fdc698c2331dc8";
constexpr char kOtherUuid[] = "70df50d8-bf94-4321-8767-8886e2ea7da2";
// Of a client of the old server.
constexpr char kPublicKeyBase64[] =
    "MIGdMA0GCSqGSIb3DQEBAQUAA4GLADCBhwKBgQC3V59fjGIOJdudd7Cntbog8Fgtej6cA5r48/"
    "JAKAX0iOX1WoJOTP81f5Pln/"
    "seDZLNr91D3SQ4UL9+"
    "I5Ar8RADJ1muZIo8yvuzRM6juVXjFz1G0tTdURbBVajQ7HCBcC4k642OtNnDueSy7TisroxWO3iXt6"
    "RGnsPkBRUshYCJewIBEQ==";

Cell Text(std::string bytes) { return {Cell::Type::kText, 0, 0, std::move(bytes)}; }
Cell Blob(std::string bytes) { return {Cell::Type::kBlob, 0, 0, std::move(bytes)}; }
Cell Integer(int64_t value) { return {Cell::Type::kInteger, value, 0, ""}; }
Cell Real(double value) { return {Cell::Type::kReal, 0, value, ""}; }
Cell Null() { return {}; }

std::string RawId() { return std::string(FromUuid<ClientId>(kUuid)->bytes()); }
std::string Padded(std::string bytes, size_t size) {
  bytes.resize(size);
  return bytes;
}
std::string PublicKey() {
  std::string key;
  EXPECT_TRUE(absl::Base64Unescape(kPublicKeyBase64, &key));
  EXPECT_EQ(key.size(), 160u);
  return key;
}

// Databases like the old server's own; tests change what they are about.
Database OwnDatabase() {
  Database database;
  database.clients = {"clients", {"ID", "name", "public_key", "last_seen", "aes_key"}, {}};
  database.files = {"files", {"ID", "FileName", "PathName", "Verified"}, {}};
  database.clients.rows = {{Text(kUuid), Blob(Padded("laptop one", 255)), Blob(PublicKey()),
                            Text("2026-11-28 23:20:52.791552"), Blob(std::string(16, 'k'))}};
  database.files.rows = {{Text("b'X\\xdd\\xc0\\x90z\\x8fK#\\x81\\xfd\\xc6\\x98\\xc23\\x1d\\xc8'"),
                          Text("file00.txt"), Text("uploaded_files/file00.txt"), Integer(0)}};
  return database;
}
absl::StatusOr<Rows> Read(const Database& database, const std::string& columns = "") {
  const auto names = ParseColumnNames(columns);
  if (!names.ok()) return names.status();
  return ReadRows(database, *names, absl::UTCTimeZone());
}
Client OnlyClient(const Database& database) {
  const auto rows = Read(database);
  EXPECT_OK(rows);
  EXPECT_THAT(rows->clients, SizeIs(1));
  return rows->clients.empty() ? Client() : rows->clients[0];
}

TEST(PythonBytesTest, KnowsAllOfPythonsEscapes) {
  using std::string_literals::operator""s;
  for (const auto& [text, bytes] : std::vector<std::pair<std::string, std::string>>{
           {"b''", ""},
           {"b\"\"", ""},
           {"b'plain \"quoted\"'", "plain \"quoted\""},
           {"b\"it's\"", "it's"},
           {R"(b'\\ \' \" ')", "\\ ' \" "},
           {R"(b'\a\b\f\n\r\t\v')", "\a\b\f\n\r\t\v"},
           {R"(b'\x00\xff\xFF\x7e')", "\0\xff\xff~"s},
           {R"(b'\0\7\12\101\1011\377\400\08')", "\0\7\nAA1\xff\0\08"s},
           {R"(b'\q\8')", "\\q\\8"},
           {"b'a\\\nb\\\r\nc'", "abc"},
           {"B'x'", "x"}}) {
    EXPECT_EQ(ParsePythonBytes(text), bytes) << text;
  }
}

TEST(PythonBytesTest, TakesNothingElse) {
  for (const char* text : {"", "b", "b'", "'x'", "b'x", "b'x\"", "b'x'y'", "b'\\'", "b'\\x1'",
                           "b'\\xg0'", "b'\n'", "b'\xC3\xA9'", " b'x'", "b'x' ", "x'00'"}) {
    EXPECT_EQ(ParsePythonBytes(text), std::nullopt) << text;
  }
}

TEST(RowsTest, ReadsIdsInEveryForm) {
  const ClientId id = *FromUuid<ClientId>(kUuid);
  const std::string literal = R"(b"X\xdd\xc0\x90z\x8fK#\x81\xfd\xc6\x98\xc23\x1d\xc8")";
  for (const std::string& form :
       {std::string(kUuid), std::string("58DDC090-7A8F-4B23-81FD-C698C2331DC8"),
        std::string(kHexId), std::string("58DDC0907A8F4B2381FDC698C2331DC8"), RawId(), literal,
        absl::StrCat("b'", kHexId, "'")}) {
    EXPECT_EQ(ReadId(Text(form)), id) << form;
    EXPECT_EQ(ReadId(Blob(form)), id) << form;
  }
}

TEST(RowsTest, TellsWhatIsNoId) {
  for (const Cell& cell :
       {Null(), Integer(5), Real(1.5), Text(""), Text("laptop"), Blob(RawId().substr(1)),
        Text(absl::StrCat(kHexId, "0")), Blob(std::string(16, '\0')), Text("b'too short'"),
        Text("00000000-0000-0000-0000-000000000000")}) {
    EXPECT_EQ(ReadId(cell), std::nullopt) << cell.bytes;
  }
}

TEST(RowsTest, ReadsTimesInEveryForm) {
  const absl::TimeZone zone = absl::FixedTimeZone(2 * 3600);
  const absl::Time whole = absl::FromUnixSeconds(1'700'000'000);  // 2023-11-14 22:13:20 UTC
  EXPECT_EQ(ReadTime(Text("2023-11-15 00:13:20"), zone), whole);
  EXPECT_EQ(ReadTime(Text("2023-11-15 00:13:20.250000"), zone), whole + absl::Milliseconds(250));
  EXPECT_EQ(ReadTime(Text("2023-11-15T00:13:20"), zone), whole);
  EXPECT_EQ(ReadTime(Text("2023-11-14T22:13:20Z"), zone), whole);
  EXPECT_EQ(ReadTime(Text("2023-11-14 22:13:20.5+00:00"), zone), whole + absl::Milliseconds(500));
  EXPECT_EQ(ReadTime(Blob(std::string("2023-11-15 00:13:20\0", 20)), zone), whole);
  EXPECT_EQ(ReadTime(Integer(1'700'000'000), zone), whole);
  EXPECT_EQ(ReadTime(Real(1'700'000'000.5), zone), whole + absl::Milliseconds(500));
  EXPECT_EQ(ReadTime(Text("1700000000"), zone), whole);
  EXPECT_EQ(ReadTime(Integer(1'700'000'000'000), zone), whole);
  for (const Cell& cell :
       {Null(), Integer(0), Integer(-5), Text(""), Text("yesterday"), Text("nan"), Text("inf"),
        Real(1e300), Text("2023-13-15 00:13:20"), Text("infinite-future"),
        Text("99999-01-01 00:00:00"), Text("0000-00-00 00:00:00"), Text("0001-01-01 00:00:00Z")}) {
    EXPECT_EQ(ReadTime(cell, zone), std::nullopt) << cell.bytes;
  }
}

TEST(RowsTest, ReadsTheOldServersOwnRows) {
  const auto rows = Read(OwnDatabase());
  ASSERT_OK(rows);
  ASSERT_THAT(rows->clients, SizeIs(1));
  const Client& client = rows->clients[0];
  EXPECT_EQ(ToUuid(client.id), kUuid);
  EXPECT_EQ(client.name, "laptop one");
  EXPECT_EQ(client.public_key, PublicKey());
  EXPECT_EQ(client.session_key, std::string(16, 'k'));
  EXPECT_EQ(client.last_seen, absl::FromUnixMicros(1'795'908'052'791'552));
  EXPECT_EQ(client.key_problem, "");
  ASSERT_THAT(rows->files, SizeIs(1));
  EXPECT_EQ(rows->files[0].client, client.id);
  EXPECT_EQ(rows->files[0].name, "file00.txt");
  EXPECT_EQ(rows->files[0].path, "uploaded_files/file00.txt");
  EXPECT_FALSE(rows->tells_verified);
  EXPECT_THAT(rows->left_out, IsEmpty());
}

TEST(RowsTest, ReadsARelativesRows) {
  Database database;
  database.clients = {"Clients", {"id", "Name", "Public Key", "LastSeen", "AES_Key"}, {}};
  database.files = {"Files", {"Id", "File Name", "Path Name", "verified"}, {}};
  database.clients.rows = {{Blob(RawId()), Text("laptop"), Blob(Padded(PublicKey(), 200)),
                            Integer(1'700'000'000), Blob(std::string(32, 'k'))}};
  database.files.rows = {{Text(kHexId), Blob(Padded("a", 255)), Text("a"), Integer(1)},
                         {Text(kHexId), Text("b"), Null(), Text("0")}};
  const auto rows = Read(database);
  ASSERT_OK(rows);
  EXPECT_EQ(rows->clients[0].public_key, PublicKey());
  EXPECT_EQ(rows->clients[0].session_key.size(), 32u);
  EXPECT_EQ(rows->clients[0].name, "laptop");
  ASSERT_THAT(rows->files, SizeIs(2));
  EXPECT_EQ(rows->files[0].name, "a");
  EXPECT_TRUE(rows->files[0].verified);
  EXPECT_EQ(rows->files[1].path, "b");
  EXPECT_FALSE(rows->files[1].verified);
  EXPECT_TRUE(rows->tells_verified);
}

TEST(RowsTest, AClientWithoutKeysHasNone) {
  // A column of text makes text of numbers.
  for (const Cell& none : {Integer(0), Null(), Text(""), Blob(""), Blob(std::string(160, '\0')),
                           Real(0), Text("0"), Text("0.0"), Text("None"), Text("b''")}) {
    Database database = OwnDatabase();
    database.clients.rows[0][2] = none;
    database.clients.rows[0][4] = none;
    const Client client = OnlyClient(database);
    EXPECT_EQ(client.public_key, "");
    EXPECT_EQ(client.session_key, "");
    EXPECT_EQ(client.key_problem, "") << none.bytes;
  }
}

TEST(RowsTest, KeysThatAreNoKeysAreToldAndTheClientKept) {
  for (const auto& [public_key, aes_key] :
       std::vector<std::pair<Cell, Cell>>{{Blob("no key"), Blob(std::string(16, 'k'))},
                                          {Blob(PublicKey()), Blob("short")},
                                          {Blob(PublicKey()), Integer(0)},
                                          {Integer(0), Blob(std::string(16, 'k'))},
                                          {Integer(7), Blob(std::string(16, 'k'))},
                                          {Blob(PublicKey()), Integer(7)}}) {
    Database database = OwnDatabase();
    database.clients.rows[0][2] = public_key;
    database.clients.rows[0][4] = aes_key;
    const Client client = OnlyClient(database);
    EXPECT_EQ(client.public_key, "");
    EXPECT_THAT(client.key_problem, HasSubstr("without keys"));
  }
}

TEST(RowsTest, KeysAsTextAreKeys) {
  Database database = OwnDatabase();
  database.clients.rows[0][2] = Text(absl::BytesToHexString(PublicKey()));
  database.clients.rows[0][4] = Text(R"(b'kkkkkkkkkkkkkkk\x00')");
  const Client client = OnlyClient(database);
  EXPECT_EQ(client.public_key, PublicKey());
  EXPECT_EQ(client.session_key, std::string("kkkkkkkkkkkkkkk\0", 16));
  EXPECT_EQ(client.key_problem, "");
}

TEST(RowsTest, ARowThatSaysNothingIsLeftOutAndTheRestRead) {
  Database database = OwnDatabase();
  auto& clients = database.clients.rows;
  clients.push_back({Text("no id"), Text("bad id"), Integer(0), Null(), Integer(0)});
  clients.push_back({Text(kUuid), Text("again"), Integer(0), Null(), Integer(0)});
  clients.push_back({Text(kOtherUuid), Blob(std::string(255, '\0')), Integer(0), Null(), Null()});
  clients.push_back({Text(kOtherUuid), Text(std::string(256, 'n')), Integer(0), Null(), Null()});
  clients.push_back({Text(kOtherUuid), Integer(3), Integer(0), Null(), Null()});
  database.files.rows.push_back(
      {Text("b'bad'"), Text("lost"), Text("uploaded_files/lost"), Null()});
  const auto rows = Read(database);
  ASSERT_OK(rows);
  EXPECT_THAT(rows->clients, SizeIs(1));
  ASSERT_THAT(rows->left_out, SizeIs(6));
  EXPECT_THAT(rows->left_out[0].subject, AllOf(HasSubstr("row 2"), HasSubstr("bad id")));
  EXPECT_THAT(rows->left_out[0].why, HasSubstr("no id"));
  EXPECT_THAT(rows->left_out[1].why, HasSubstr(kUuid));
  EXPECT_THAT(rows->left_out[2].why, HasSubstr("empty name"));
  EXPECT_THAT(rows->left_out[3].why, HasSubstr("255"));
  EXPECT_THAT(rows->left_out[4].why, HasSubstr("no name"));
  EXPECT_EQ(rows->left_out[5].path, "uploaded_files/lost");
}

TEST(RowsTest, OfANameTheClientThatWasSeenLastComesFirst) {
  Database database = OwnDatabase();
  database.clients.rows.push_back(database.clients.rows[0]);
  database.clients.rows[1][0] = Text(kOtherUuid);
  database.clients.rows[1][3] = Text("2026-11-29 00:00:00");
  const auto rows = Read(database);
  ASSERT_THAT(rows->clients, SizeIs(2));
  EXPECT_EQ(ToUuid(rows->clients[0].id), kOtherUuid);
}

TEST(RowsTest, ColumnsThatAreNotRecognizedAreToldAndMapped) {
  Database database = OwnDatabase();
  database.clients.columns = {"uid", "client", "pub", "seen", "key"};
  database.files.columns = {"uid", "name", "where", "ok"};
  EXPECT_THAT(Read(database), Says(absl::StatusCode::kInvalidArgument,
                                   AllOf(HasSubstr("no column for id"),
                                         HasSubstr("uid, client, pub"), HasSubstr("--columns"))));
  const std::string clients = "UID=id,clients.client=name,pub=PublicKey,seen=last seen,key=aes_key";
  EXPECT_THAT(Read(database, clients), StatusIs(absl::StatusCode::kInvalidArgument));
  const auto rows = Read(database, clients + ",files.name=file_name,where=path_name,ok=verified");
  ASSERT_OK(rows);
  EXPECT_THAT(rows->clients, SizeIs(1));
  EXPECT_THAT(rows->files, SizeIs(1));
  EXPECT_THAT(Read(database, clients + ",nothing=verified"),
              Says(absl::StatusCode::kInvalidArgument, HasSubstr("no column nothing")));
  for (const char* wrong : {"a", "=id", "a=b", "a=id,", "a=id=name"})
    EXPECT_THAT(Read(database, wrong), StatusIs(absl::StatusCode::kInvalidArgument)) << wrong;
}

TEST(RowsTest, AMappedColumnGoesBeforeOneThatIsMerelyCalledSo) {
  Database database = OwnDatabase();
  database.clients.columns.push_back("long name");
  database.clients.rows[0].push_back(Text("long"));
  EXPECT_EQ(Read(database, "long name=name")->clients[0].name, "long");
  database.clients.columns.back() = "Name";
  EXPECT_THAT(Read(database),
              Says(absl::StatusCode::kInvalidArgument, HasSubstr("more than one column")));
}

}  // namespace
}  // namespace backup::ctl::old_server
