#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/testing/contract/fixture.h"

namespace backup::storage {

class CatalogRetention : public CatalogContract {
 protected:
  absl::Status SetPolicy(const RetentionPolicy& policy) {
    return Run([&](Transaction& transaction) { return transaction.SetPolicy(policy); });
  }
  std::vector<RetentionPolicy> ListPolicies(const std::optional<PolicyScope>& after, int limit) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListPolicies(after, limit); }).value();
  }
  std::vector<RetentionPolicy> ListPoliciesFor(const ClientId& client) {
    return Read([&](Snapshot& snapshot) { return snapshot.ListPoliciesFor(client); }).value();
  }
  // What all pages of at most `limit` list, as "file:version", and how many pages these are.
  std::pair<std::vector<std::string>, int> ListAges(int limit) {
    std::pair<std::vector<std::string>, int> listed;
    std::optional<AgesPlace> place = AgesPlace();
    while (place) {
      const AgesPage page =
          Read([&](Snapshot& snapshot) { return snapshot.ListAges(*place, limit); }).value();
      for (const FileAges& file : page.files) {
        for (const VersionAge& age : file.versions)
          listed.first.push_back(absl::StrCat(file.file_name, ":", age.version_id));
      }
      ++listed.second;
      place = page.next;
    }
    return listed;
  }
  absl::StatusOr<int64_t> Expire(const std::vector<Expiring>& expiring) {
    return Run(
        [&](Transaction& transaction) { return transaction.ExpireVersions(expiring, {At(100)}); });
  }
};

TEST_P(CatalogRetention, KeepsPoliciesInTheOrderOfClientsAndPatterns) {
  const ClientId first = Register("first", 1).id;
  const ClientId second = Register("second", 2).id;
  const RetentionPolicy store{{}, {.keep_last = 1}};
  const RetentionPolicy of_first{{first, ""},
                                 {2, absl::Hours(3) + absl::Microseconds(1), 4, 5, 6, 7, 8}};
  const RetentionPolicy of_logs{{first, "*.log\xff"}, {.keep_daily = 2}};
  const RetentionPolicy of_second{{second, ""}, {.keep_yearly = 9}};
  for (const RetentionPolicy& policy : {of_second, of_logs, of_first, store})
    EXPECT_OK(SetPolicy(policy));
  EXPECT_EQ(Count().policies, 4);
  EXPECT_EQ(ListPolicies(std::nullopt, 3), (std::vector{store, of_first, of_logs}));
  EXPECT_EQ(ListPolicies(of_logs.scope, 3), (std::vector{of_second}));
  EXPECT_EQ(ListPolicies(store.scope, 1), (std::vector{of_first}));
  EXPECT_EQ(ListPoliciesFor(first), (std::vector{store, of_first, of_logs}));
  EXPECT_EQ(ListPoliciesFor(nobody_), (std::vector{store}));
  const auto find = [&](const PolicyScope& scope) {
    return Read([&](Snapshot& snapshot) { return snapshot.FindPolicy(scope); }).value();
  };
  EXPECT_EQ(find(of_logs.scope), of_logs);
  EXPECT_EQ(find({second, "*"}), std::nullopt);
  const RetentionPolicy changed{of_logs.scope, {.keep_weekly = 1}};
  EXPECT_OK(SetPolicy(changed));
  EXPECT_EQ(find(of_logs.scope), changed);
}

TEST_P(CatalogRetention, RefusesPoliciesForClientsThatAreNotThere) {
  EXPECT_THAT(SetPolicy({{nobody_, ""}, {.keep_last = 1}}),
              testing::HasReason(Reason::kClientNotFound));
  EXPECT_EQ(Count().policies, 0);
}

TEST_P(CatalogRetention, ForgetsPoliciesOnRequestAndWithTheirClient) {
  const ClientId id = Register("name", 1).id;
  EXPECT_OK(SetPolicy({{}, {.keep_last = 1}}));
  EXPECT_OK(SetPolicy({{id, ""}, {.keep_last = 1}}));
  EXPECT_OK(SetPolicy({{id, "*"}, {.keep_last = 1}}));
  const auto remove = [&](const PolicyScope& scope) {
    return Run([&](Transaction& transaction) { return transaction.DeletePolicy(scope); }).value();
  };
  EXPECT_TRUE(remove({id, "*"}));
  EXPECT_FALSE(remove({id, "*"}));
  EXPECT_EQ(Count().policies, 2);
  EXPECT_OK(RemoveClient(id));
  EXPECT_EQ(ListPolicies(std::nullopt, 9), (std::vector{RetentionPolicy{{}, {.keep_last = 1}}}));
}

TEST_P(CatalogRetention, ListsTheAgesOfAllVersionsNewestFirst) {
  const ClientId second = Register("second", 2).id;
  const ClientId first = Register("first", 1).id;
  std::vector<std::string> expected;
  const auto add = [&](const ClientId& client, const std::string& name, int count) {
    std::vector<std::string> added;
    for (int i = 0; i < count; ++i)
      added.push_back(absl::StrCat(name, ":", Add(client, name).version_id));
    expected.insert(expected.end(), added.rbegin(), added.rend());
  };
  add(first, "a", 1);
  add(first, "b", 5);
  add(first, "c", 2);
  add(second, "a", 3);
  for (const int limit : {1, 2, 3, 4, 7, 100}) {
    const auto [listed, pages] = ListAges(limit);
    EXPECT_EQ(listed, expected) << limit;
    EXPECT_LE(pages, 16 / limit + 5) << limit;
  }
  EXPECT_EQ(ListAges(100).second, 1);
}

TEST_P(CatalogRetention, TellsWhatRetentionNeedsToKnowOfAVersion) {
  const ClientId id = Register("name", 1).id;
  Version version = MakeVersion(id, "a");
  version.retain_until = At(100);
  ASSERT_OK(AddVersion(version, std::string("bytes")));
  Settle(id, "a", Outcome::kVerified);
  const AgesPage page =
      Read([](Snapshot& snapshot) { return snapshot.ListAges(AgesPlace(), 9); }).value();
  ASSERT_EQ(page.files.size(), 1u);
  EXPECT_EQ(page.files[0].client, id);
  const VersionAge& age = page.files[0].versions.at(0);
  EXPECT_EQ(age.version_id, version.version_id);
  EXPECT_EQ(age.state, VersionState::kVerified);
  EXPECT_FALSE(age.is_damaged);
  EXPECT_EQ(age.receive_time, At(2));
  EXPECT_EQ(age.retain_until, At(100));
}

TEST_P(CatalogRetention, TellsWhichVersionsHaveKeysOfTheirOwn) {
  const ClientId id = Register("name", 1).id;
  const auto add = [&](const std::string& file, StorageForm form, const NewContent& content) {
    Version version = MakeVersion(id, file);
    version.form = form;
    ASSERT_OK(AddVersion(version, content));
  };
  NewChunks chunk;
  chunk.inlined = {{{IdOf<ChunkId>(1), 10}, StorageForm::kSealed, ChunkCoding::kRaw, "12"}};
  chunk.recipe = {chunk.inlined[0].ref};
  ASSERT_OK(AddPending(IdOf<BlobId>(5)));
  add("a plain one", StorageForm::kPlain, std::string("bytes"));
  add("a sealed one", StorageForm::kSealed, std::string("bytes"));
  add("of a chunk", StorageForm::kSealed, chunk);
  add("of none", StorageForm::kSealed, NewChunks());
  add("the client's", StorageForm::kClientCiphertext, NewBlob{IdOf<BlobId>(5), 100});
  const AgesPage page =
      Read([](Snapshot& snapshot) { return snapshot.ListAges(AgesPlace(), 99); }).value();
  std::vector<std::string> own;
  for (const FileAges& file : page.files)
    if (file.versions.at(0).has_own_key) own.push_back(file.file_name);
  EXPECT_EQ(own, (std::vector<std::string>{"a sealed one", "the client's"}));
}

TEST_P(CatalogRetention, KnowsUntilWhenNobodyMayRemoveSomething) {
  const ClientId id = Register("name", 1).id;
  const auto of_file = [&](const std::string& name) {
    return Read([&](Snapshot& snapshot) { return snapshot.FileRetainedUntil(id, name); });
  };
  Add(id, "free");
  EXPECT_EQ(FindClient(id)->retain_until, std::nullopt);
  for (const int seconds : {50, 100, 70}) {
    Version version = MakeVersion(id, "a");
    version.retain_until = At(seconds);
    ASSERT_OK(AddVersion(version, std::string("bytes")));
    EXPECT_EQ(FindVersion(id, "a", version.version_id)->version.retain_until, At(seconds));
  }
  EXPECT_EQ(*of_file("a"), At(100));
  EXPECT_EQ(*of_file("free"), std::nullopt);
  EXPECT_THAT(of_file("none").status(), testing::HasReason(Reason::kFileNotFound));
  EXPECT_EQ(FindClient(id)->retain_until, At(100));
}

TEST_P(CatalogRetention, RefusesToDeleteWhatMustBeKept) {
  const ClientId id = Register("name", 1).id;
  Version version = MakeVersion(id, "a");
  version.retain_until = At(100);
  ASSERT_OK(AddVersion(version, std::string("bytes")));
  const auto remove = [&](absl::Time now) {
    return Run([&](Transaction& transaction) {
      return transaction.DeleteVersion(id, "a", version.version_id, {now});
    });
  };
  const auto remove_client = [&](absl::Time now) {
    return Run([&](Transaction& transaction) { return transaction.DeleteClient(id, now); });
  };
  EXPECT_THAT(remove(At(99)), testing::HasReason(Reason::kRetained));
  EXPECT_THAT(remove_client(At(99)), testing::HasReason(Reason::kRetained));
  EXPECT_EQ(*Run([&](Transaction& transaction) {
    return transaction.DeleteVersions({version.version_id}, {At(99), /*for_good=*/true});
  }),
            0);
  // The time that is given is not to be trusted.
  EXPECT_OK(Run([&](Transaction& transaction) {
    return transaction.SaveClockNote({At(1), absl::Seconds(2), "boot", At(3), At(4), "why"});
  }));
  EXPECT_THAT(remove(At(100)), testing::HasReason(Reason::kRetained));
  EXPECT_THAT(remove_client(At(100)), testing::HasReason(Reason::kRetained));
  EXPECT_OK(Run([&](Transaction& transaction) {
    return transaction.SaveClockNote({At(1), absl::Seconds(2), "boot", At(3), std::nullopt, ""});
  }));
  EXPECT_OK(remove(At(100)));
  EXPECT_OK(remove_client(At(100)));
}

TEST_P(CatalogRetention, LetsTheClientTakeBackWhatItDidNotConfirm) {
  const ClientId id = Register("name", 1).id;
  for (const Outcome outcome : {Outcome::kRetrying, Outcome::kAbandoned}) {
    Version version = MakeVersion(id, "a");
    version.retain_until = At(100);
    ASSERT_OK(AddVersion(version, std::string("bytes")));
    EXPECT_TRUE(Settle(id, "a", outcome));
  }
}

TEST_P(CatalogRetention, ExpiresWhatMayGo) {
  const ClientId id = Register("name", 1).id;
  const auto add = [&](std::optional<Outcome> outcome, std::optional<absl::Time> retain_until) {
    Version version = MakeVersion(id, "a");
    version.retain_until = retain_until;
    EXPECT_OK(AddVersion(version, std::string("bytes")));
    if (outcome) Settle(id, "a", *outcome);
    return version.version_id;
  };
  const int64_t old = add(Outcome::kVerified, std::nullopt);
  const int64_t free = add(Outcome::kVerified, At(100));
  const int64_t retained = add(Outcome::kVerified, At(101));
  const int64_t abandoned = add(Outcome::kAbandoned, std::nullopt);
  const int64_t newest = add(Outcome::kVerified, std::nullopt);
  const int64_t unconfirmed = add(std::nullopt, std::nullopt);
  const std::vector<Expiring> all{
      {newest, VersionState::kVerified, newest},   {unconfirmed, VersionState::kReceived, 0},
      {retained, VersionState::kVerified, newest}, {abandoned, VersionState::kAbandoned, 0},
      {free, VersionState::kVerified, newest},     {old, VersionState::kVerified, newest},
      {999, VersionState::kVerified, newest}};
  EXPECT_EQ(*Expire(all), 4);
  EXPECT_EQ(*Expire(all), 0);
  EXPECT_EQ(ListAges(9).first,
            (std::vector{absl::StrCat("a:", newest), absl::StrCat("a:", retained)}));
  EXPECT_EQ(Count().trash_versions, 3);  // What was given up is gone.
  EXPECT_FALSE(Expire(std::vector<Expiring>(Transaction::kMaxDeletedVersions + 1)).ok());
}

TEST_P(CatalogRetention, ExpiresNothingThatIsNotAsItWasJudged) {
  const ClientId id = Register("name", 1).id;
  const int64_t confirmed = Add(id, "a").version_id;
  Settle(id, "a", Outcome::kVerified);
  EXPECT_EQ(*Expire({{confirmed, VersionState::kReceived, 0}}), 0);
  EXPECT_EQ(*Expire({{confirmed, VersionState::kAbandoned, 0}}), 0);
}

TEST_P(CatalogRetention, ExpiresAVerifiedVersionOnlyBesideANewerOneThatCanBeRead) {
  const ClientId id = Register("name", 1).id;
  const auto add = [&](const std::string& file) {
    const int64_t version = Add(id, file).version_id;
    Settle(id, file, Outcome::kVerified);
    return version;
  };
  const int64_t other = add("b");
  const int64_t older = add("a");
  const int64_t going = add("a");
  const int64_t damaged = add("a");
  const int64_t trashed = add("a");
  const int64_t unconfirmed = Add(id, "a").version_id;
  const int64_t elsewhere = add("b");
  EXPECT_OK(Run([&](Transaction& transaction) {
    return transaction.MarkVersionDamaged(damaged, std::string("bytes"));
  }));
  EXPECT_OK(Run([&](Transaction& transaction) {
    return transaction.DeleteVersion(id, "a", trashed, {At(1)});
  }));
  for (const int64_t no :
       {int64_t{0}, int64_t{999}, other, older, going, damaged, trashed, unconfirmed, elsewhere}) {
    EXPECT_EQ(*Expire({{going, VersionState::kVerified, no}}), 0) << no;
  }
  const int64_t good = add("a");
  EXPECT_EQ(*Expire({{going, VersionState::kVerified, good}}), 1);
}

TEST_P(CatalogRetention, TellsWhenAVersionCameHere) {
  const ClientId id = Register("name", 1).id;
  Version version = MakeVersion(id, "a");
  version.arrive_time = At(100);
  ASSERT_OK(AddVersion(version, std::string("bytes")));
  EXPECT_EQ(FindVersion(id, "a", version.version_id)->version.arrive_time, At(100));
  Add(id, "a");
  const AgesPage page =
      Read([](Snapshot& snapshot) { return snapshot.ListAges(AgesPlace(), 9); }).value();
  EXPECT_EQ(page.files[0].versions[0].arrive_time, std::nullopt);
  EXPECT_EQ(page.files[0].versions[1].arrive_time, At(100));
}

TEST_P(CatalogRetention, LeavesTheNewestVersionThatCanBeRead) {
  const ClientId id = Register("name", 1).id;
  std::vector<int64_t> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(Add(id, "a").version_id);
    Settle(id, "a", Outcome::kVerified);
  }
  for (const int64_t damaged : {ids[3], ids[2]}) {
    EXPECT_OK(Run([&](Transaction& transaction) {
      return transaction.MarkVersionDamaged(damaged, std::string("bytes"));
    }));
  }
  const AgesPage page =
      Read([](Snapshot& snapshot) { return snapshot.ListAges(AgesPlace(), 9); }).value();
  EXPECT_TRUE(page.files[0].versions[1].is_damaged);
  EXPECT_FALSE(page.files[0].versions[2].is_damaged);
  std::vector<Expiring> all;
  for (const int64_t version : ids) all.push_back({version, VersionState::kVerified, ids[1]});
  EXPECT_EQ(*Expire(all), 1);
  EXPECT_EQ(ListAges(9).first, (std::vector{absl::StrCat("a:", ids[3]), absl::StrCat("a:", ids[2]),
                                            absl::StrCat("a:", ids[1])}));
}

TEST_P(CatalogRetention, KeepsWhatWasNotedOfTheClocks) {
  const auto find = [&] {
    return Read([](Snapshot& snapshot) { return snapshot.FindClockNote(); }).value();
  };
  EXPECT_EQ(find(), std::nullopt);
  ClockNote note{At(1), absl::Seconds(2), "boot", At(3), std::nullopt, ""};
  for (int i = 0; i < 2; ++i) {
    EXPECT_OK(Run([&](Transaction& transaction) { return transaction.SaveClockNote(note); }));
    EXPECT_EQ(find(), note);
    note.distrusted_since = At(4);
    note.distrust = "why";
  }
}

}  // namespace backup::storage
