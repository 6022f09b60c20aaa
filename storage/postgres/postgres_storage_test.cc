#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <iostream>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "storage/postgres/connector.h"
#include "storage/postgres/conninfo.h"
#include "storage/postgres/postgres_catalog.h"
#include "storage/postgres/schema.h"
#include "storage/postgres/testing/cutting_proxy.h"
#include "storage/postgres/testing/postgres_server.h"
#include "storage/testing/catalog_contract.h"
#include "storage/testing/repeating_catalog.h"

namespace backup::storage {
namespace {

using postgres::CuttingProxy;
using postgres::PostgresServer;
using testing::HasReason;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::StatusIs;

PostgresCatalog::Options ShortWaits() {
  PostgresCatalog::Options options;
  options.answer_timeout = absl::Seconds(10);
  return options;
}

absl::StatusOr<std::unique_ptr<PostgresCatalog>> OpenAt(const std::string& conninfo) {
  return PostgresCatalog::Open(conninfo, {}, ShortWaits());
}

std::unique_ptr<Catalog> MakeCatalog() {
  return OpenAt(PostgresServer::Shared()->NewSchema()).value();
}

std::unique_ptr<Catalog> MakeRepeatingCatalog() {
  return std::make_unique<RepeatingCatalog>(MakeCatalog());
}

// Without an installed server nothing can be tested, which CTest calls skipped (SKIP_RETURN_CODE).
[[maybe_unused]] const bool kHasServer = [] {
  if (!PostgresServer::Programs().empty()) return true;
  std::cerr << "skipped: no PostgreSQL server is installed below /usr/lib/postgresql\n";
  std::_Exit(77);
}();

INSTANTIATE_CATALOG_CONTRACT(Postgres, MakeCatalog);
INSTANTIATE_TEST_SUITE_P(RepeatingPostgres, CatalogChunks, ::testing::Values(MakeRepeatingCatalog));
INSTANTIATE_TEST_SUITE_P(RepeatingPostgres, CatalogRecipes,
                         ::testing::Values(MakeRepeatingCatalog));
INSTANTIATE_TEST_SUITE_P(RepeatingPostgres, CatalogPacks, ::testing::Values(MakeRepeatingCatalog));

class PostgresCatalogTest : public ::testing::Test {
 protected:
  static absl::Time At(int seconds) { return absl::FromUnixSeconds(1'700'000'000 + seconds); }

  absl::StatusOr<std::unique_ptr<PostgresCatalog>> Open() const { return OpenAt(conninfo_); }

  static absl::Status Register(Catalog& catalog, uint8_t id = 1) {
    return catalog.Run([id](Transaction& transaction) {
      return transaction
          .RegisterClient(absl::StrCat("name ", id), IdOf<ClientId>(id), DuplicateNames::kAllow,
                          At(0))
          .status();
    });
  }
  static absl::StatusOr<int64_t> ReserveId(Catalog& catalog) {
    return catalog.Run([](Transaction& transaction) { return transaction.ReserveVersionIds(1); });
  }
  static Version SomeVersion(int64_t version_id, uint8_t client = 1) {
    Version version;
    version.client_id = IdOf<ClientId>(client);
    version.file_name = "file";
    version.version_id = version_id;
    version.size_bytes = 5;
    version.sha256 = std::string(32, 's');
    version.receive_time = At(1);
    return version;
  }
  static absl::Status Add(Catalog& catalog, const Version& version,
                          const NewContent& content = std::string("bytes")) {
    return catalog.Run([&](Transaction& transaction) {
      return transaction.AddVersion(version, content, {}).status();
    });
  }
  static int64_t CountVersions(Catalog& catalog) {
    return catalog.Read([](Snapshot& snapshot) { return snapshot.Count(); }).value().versions;
  }

  PostgresServer& server_ = *PostgresServer::Shared();
  const std::string conninfo_ = server_.NewSchema();
};

TEST_F(PostgresCatalogTest, FindsEverythingAgainAfterReopening) {
  const ClientId id = IdOf<ClientId>(1);
  {
    const auto catalog = Open().value();
    ASSERT_OK(Register(*catalog));
    ASSERT_OK(Add(*catalog, SomeVersion(ReserveId(*catalog).value())));
    ASSERT_OK(catalog->Run([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(
          transaction.SettleVersion({id, "file", std::nullopt, Outcome::kVerified}, At(2))
              .status());
      return transaction.TouchClient(id, At(9));
    }));
  }
  const auto catalog = Open().value();
  const Client client =
      catalog->Read([&](Snapshot& snapshot) { return snapshot.FindClient(id); }).value();
  EXPECT_EQ(client.last_seen_time, At(9)) << "what was seen last was not written";
  EXPECT_EQ(client.last_verified_time, At(2));
  EXPECT_EQ(CountVersions(*catalog), 1);
  EXPECT_GT(ReserveId(*catalog).value(), 1);
  EXPECT_GT(catalog->SizeBytes().value(), 0);
  EXPECT_TRUE(catalog->is_elsewhere());
}

TEST_F(PostgresCatalogTest, IsMigratedOnceByManyAtTheSameTime) {
  std::vector<std::future<absl::Status>> opened;
  for (int i = 0; i < 6; ++i)
    opened.push_back(std::async(std::launch::async, [&] { return Open().status(); }));
  for (auto& status : opened) EXPECT_OK(status.get());
  EXPECT_EQ(Open().value()->Read([](Snapshot& snapshot) { return snapshot.Epoch(); }).value(), 0);
}

TEST_F(PostgresCatalogTest, OfANewerSchemaIsRefused) {
  { ASSERT_OK(Open()); }
  const std::string schema = conninfo_.substr(conninfo_.rfind('=') + 1);
  server_.Execute(absl::StrCat("INSERT INTO ", absl::StrReplaceAll(schema, {{"'", ""}}),
                               ".catalog_migrations VALUES (", postgres::NewestSchema() + 1, ")"));
  EXPECT_THAT(Open().status(), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr("run the newer program"));
}

TEST_F(PostgresCatalogTest, CountsChangesButNotThoseOfTimes) {
  const auto catalog = Open().value();
  const int64_t before = catalog->changes();
  ASSERT_OK(Register(*catalog));
  EXPECT_EQ(catalog->changes(), before + 1);
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK(catalog->Run([](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(transaction.TouchClient(IdOf<ClientId>(1), At(9)));
      RETURN_IF_ERROR(transaction.SaveJob(JobState{"job", "", {}, {}, "", 0, 0}));
      return transaction.ProbeWrite();
    }));
  }
  EXPECT_EQ(catalog->changes(), before + 1);
}

TEST_F(PostgresCatalogTest, SaysSoWhileItsServerIsGoneAndWorksAgainAfterwards) {
  const auto catalog = Open().value();
  ASSERT_OK(Register(*catalog));
  server_.Kill();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(Register(*catalog, 2), HasReason(Reason::kBackendDown));
  EXPECT_THAT(catalog->Read([](Snapshot& snapshot) { return snapshot.Count(); }).status(),
              HasReason(Reason::kBackendDown));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  server_.Start();
  EXPECT_OK(Register(*catalog, 3));
  EXPECT_EQ(catalog->Read([](Snapshot& snapshot) { return snapshot.Count(); }).value().clients, 2);
}

TEST_F(PostgresCatalogTest, LosesNothingThatWasAcknowledgedWhenItsServerIsKilled) {
  const auto catalog = Open().value();
  std::atomic<bool> ends = false;
  std::vector<uint8_t> acknowledged;
  std::jthread writer([&] {
    for (uint8_t id = 1; id < 250 && !ends; ++id) {
      if (Register(*catalog, id).ok()) acknowledged.push_back(id);
    }
  });
  while (catalog->changes() < 20) std::this_thread::yield();
  server_.Kill();
  server_.Start();
  ends = true;
  writer.join();
  const auto clients =
      catalog->Read([](Snapshot& snapshot) { return snapshot.ListClients(ClientId(), 1000); })
          .value();
  std::set<ClientId> found;
  for (const Client& client : clients) found.insert(client.id);
  for (const uint8_t id : acknowledged) EXPECT_TRUE(found.contains(IdOf<ClientId>(id))) << +id;
}

TEST_F(PostgresCatalogTest, FindsAServerThatMovedWithoutAnErrorForThoseWhoWait) {
  // Two hosts: at the second one there is nobody at first.
  const std::string both = absl::StrReplaceAll(
      conninfo_, {{server_.SocketFolder(),
                   absl::StrCat(server_.SocketFolder(), ",", server_.SocketFolder("other"))}});
  const auto catalog = OpenAt(both).value();
  ASSERT_OK(Register(*catalog));
  server_.Stop();
  std::future<absl::Status> waiting =
      std::async(std::launch::async, [&] { return Register(*catalog, 2); });
  server_.Start("other");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_OK(waiting.get());
  EXPECT_OK(Register(*catalog, 3));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_EQ(catalog->Read([](Snapshot& snapshot) { return snapshot.Count(); }).value().clients, 3);
  server_.Stop();
  server_.Start();
}

TEST_F(PostgresCatalogTest, DoesNotKnowWhatBecameOfACommitWhoseAnswerIsLostAndIsAskedAgain) {
  CuttingProxy proxy(server_.SocketFolder() + "/.s.PGSQL.5432");
  const auto catalog =
      OpenAt(absl::StrReplaceAll(conninfo_, {{server_.SocketFolder(), proxy.host()}})).value();
  ASSERT_OK(Register(*catalog));
  Version version = SomeVersion(ReserveId(*catalog).value());
  version.upload_id = IdOf<UploadId>(7);
  proxy.LoseNextCommit();
  EXPECT_THAT(Add(*catalog, version), HasReason(Reason::kBackendDown));
  EXPECT_TRUE(proxy.has_lost());
  // It happened: who asks again with the same upload gets the same version.
  version.version_id = ReserveId(*catalog).value();
  const Version again = catalog
                            ->Run([&](Transaction& transaction) {
                              return transaction.AddVersion(version, std::string("bytes"), {});
                            })
                            .value();
  EXPECT_LT(again.version_id, version.version_id);
  EXPECT_EQ(CountVersions(*catalog), 1);
  // So it is with verdicts.
  const Verdict verdict = {IdOf<ClientId>(1), "file", version.upload_id, Outcome::kVerified};
  const auto settle = [&] {
    return catalog->Run(
        [&](Transaction& transaction) { return transaction.SettleVersion(verdict, At(3)); });
  };
  proxy.LoseNextCommit();
  EXPECT_THAT(settle().status(), HasReason(Reason::kBackendDown));
  EXPECT_FALSE(settle().value());
  EXPECT_EQ(
      catalog->Read([](Snapshot& snapshot) { return snapshot.Count(); }).value().verified_versions,
      1);
}

// A chunk in the catalog of one byte.
NewChunks Chunk(uint8_t id) {
  NewChunks chunks;
  chunks.inlined.push_back({.ref = {IdOf<ChunkId>(id), 1}, .payload = "p"});
  chunks.recipe.push_back({IdOf<ChunkId>(id), 1});
  return chunks;
}

TEST_F(PostgresCatalogTest, IsSharedByServicesThatWriteTheSameAtTheSameTime) {
  constexpr int kServices = 3;
  constexpr int kVersions = 60;
  std::vector<std::unique_ptr<PostgresCatalog>> services;
  for (int i = 0; i < kServices; ++i) services.push_back(Open().value());
  for (uint8_t id = 1; id <= 3; ++id) ASSERT_OK(Register(*services[0], id));
  std::vector<std::jthread> threads;
  for (int i = 0; i < kServices * 2; ++i) {
    threads.emplace_back([&, i] {
      Catalog& catalog = *services[static_cast<size_t>(i % kServices)];
      for (int j = 0; j < kVersions; ++j) {
        const auto client = static_cast<uint8_t>((i + j) % 3 + 1);
        const auto chunk = static_cast<uint8_t>((i * 7 + j * 5) % 11 + 1);
        const Version version = SomeVersion(ReserveId(catalog).value(), client);
        EXPECT_OK(Add(catalog, version, Chunk(chunk)));
        if (j % 4 != 0) continue;
        EXPECT_OK(catalog.Run([&](Transaction& transaction) {
          return transaction.DeleteVersions({version.version_id}, {At(5), /*for_good=*/true})
              .status();
        }));
      }
    });
  }
  threads.clear();
  const Counts counts =
      services[0]->Read([](Snapshot& snapshot) { return snapshot.Count(); }).value();
  EXPECT_EQ(counts.versions, kServices * 2 * kVersions * 3 / 4);
  EXPECT_EQ(counts.files, 3);
  // The running counts are those of what is there.
  const auto chunks =
      services[0]
          ->Read([](Snapshot& snapshot) { return snapshot.ListInlineChunks(0, 1000); })
          .value();
  EXPECT_EQ(counts.chunks, std::ssize(chunks));
  int64_t refs = 0;
  for (const StoredChunk& chunk : chunks) refs += chunk.refs;
  EXPECT_EQ(refs, counts.versions);
}

TEST_F(PostgresCatalogTest, GivesEachServiceNumbersOfItsOwn) {
  const auto one = Open().value();
  const auto other = Open().value();
  std::set<int64_t> firsts;
  std::mutex mutex;
  std::vector<std::jthread> threads;
  for (Catalog* const catalog : {one.get(), other.get()}) {
    threads.emplace_back([&, catalog] {
      for (int i = 0; i < 50; ++i) {
        const int64_t first =
            catalog->Run([](Transaction& transaction) { return transaction.ReserveVersionIds(10); })
                .value();
        const std::lock_guard lock(mutex);
        for (int64_t id = first; id < first + 10; ++id) EXPECT_TRUE(firsts.insert(id).second) << id;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(one->Read([](Snapshot& snapshot) { return snapshot.NextVersionId(); }).value(),
            *firsts.rbegin() + 1);
}

TEST_F(PostgresCatalogTest, RegistersANameOnceHoweverManyServicesAreAsked) {
  const auto one = Open().value();
  const auto other = Open().value();
  for (uint8_t round = 1; round <= 20; ++round) {
    std::vector<std::future<absl::StatusOr<Client>>> registered;
    for (Catalog* const catalog : {one.get(), other.get()}) {
      const auto id = static_cast<uint8_t>(registered.size() * 100 + round);
      registered.push_back(std::async(std::launch::async, [catalog, id, round] {
        return catalog->Run([&](Transaction& transaction) {
          return transaction.RegisterClient(absl::StrCat("client ", round), IdOf<ClientId>(id),
                                            DuplicateNames::kReject, At(0));
        });
      }));
    }
    EXPECT_EQ(registered[0].get().value().id, registered[1].get().value().id);
  }
}

TEST_F(PostgresCatalogTest, ServesMoreReadersThanItHasConnections) {
  const auto catalog = Open().value();
  constexpr int kReaders = 64;
  std::atomic<int> together = 0;
  std::atomic<int> most = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.emplace_back([&] {
      EXPECT_OK(catalog->Read([&](Snapshot& snapshot) -> absl::Status {
        const int now = ++together;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        const absl::Status status = snapshot.Count().status();
        --together;
        return status;
      }));
    });
  }
  readers.clear();
  EXPECT_LE(most, ShortWaits().max_readers);
}

TEST_F(PostgresCatalogTest, TurnsReadersAwayThatWaitForTooLong) {
  PostgresCatalog::Options options;
  options.max_readers = 1;
  options.reader_wait = absl::Milliseconds(1);
  const auto catalog = PostgresCatalog::Open(conninfo_, {}, options).value();
  EXPECT_OK(catalog->Read([&](Snapshot&) {
    EXPECT_THAT(catalog->Read([](Snapshot&) { return absl::OkStatus(); }),
                HasReason(Reason::kOverloaded));
    return absl::OkStatus();
  }));
}

// What somebody must put right is one line that does not tell what is secret.
void ExpectRefused(const std::string& conninfo, absl::StatusCode code, const std::string& says) {
  const absl::Status status = OpenAt(conninfo).status();
  EXPECT_THAT(status, StatusIs(code));
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr(says));
  EXPECT_THAT(message, Not(HasSubstr("hush")));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

TEST_F(PostgresCatalogTest, SaysWhatIsWrongAtTheStart) {
  const std::string host = absl::StrCat("host=", server_.SocketFolder(), " ");
  ExpectRefused(host + "user=guarded dbname=postgres password=hush",
                absl::StatusCode::kFailedPrecondition, "authentication failed");
  ExpectRefused(host + "user=backup dbname=missing password=hush",
                absl::StatusCode::kFailedPrecondition, "\"missing\" does not exist");
  ExpectRefused(host + "user=nobody_at_all dbname=postgres password=hush",
                absl::StatusCode::kFailedPrecondition, "does not exist");
  ExpectRefused(conninfo_.substr(0, conninfo_.find("options")) +
                    "options='-c default_transaction_read_only=on' password=hush",
                absl::StatusCode::kUnavailable, "read-only");
  ExpectRefused("host=/nowhere password=hush", absl::StatusCode::kUnavailable, "/nowhere");
  // A role that may not make tables.
  ExpectRefused(host + "user=guarded dbname=postgres password=right",
                absl::StatusCode::kFailedPrecondition, "permission denied");
}

}  // namespace
}  // namespace backup::storage
