"""Kafka messages as compact tables, written a second time, independently of the server's own tables.

One block an API: `api KEY NAME flex VERSION`, then `req` and `rsp` with one field a line:
`name type [versions]`, nested by indentation. `name []` is an array of structs, `name []int32` of primitives.
Versions are `3+` or `0-2`; none means all. Nulls need no mark: None is written as the null length.
"""

TABLES = """
api 0 Produce flex 9
req
  transactional_id string 3+
  acks int16
  timeout_ms int32
  topics []
    name string
    partitions []
      index int32
      records bytes
rsp
  topics []
    name string
    partitions []
      index int32
      error_code int16
      base_offset int64
      log_append_time_ms int64 2+
      log_start_offset int64 5+
      record_errors [] 8+
        batch_index int32
        message string
      error_message string 8+
  throttle_time_ms int32 1+

api 1 Fetch flex 12
req
  replica_id int32 0-14
  max_wait_ms int32
  min_bytes int32
  max_bytes int32 3+
  isolation_level int8 4+
  session_id int32 7+
  session_epoch int32 7+
  topics []
    name string 0-12
    topic_id uuid 13+
    partitions []
      index int32
      current_leader_epoch int32 9+
      fetch_offset int64
      last_fetched_epoch int32 12+
      log_start_offset int64 5+
      max_bytes int32
  forgotten [] 7+
    name string 0-12
    topic_id uuid 13+
    partitions []int32
  rack_id string 11+
rsp
  throttle_time_ms int32 1+
  error_code int16 7+
  session_id int32 7+
  topics []
    name string 0-12
    topic_id uuid 13+
    partitions []
      index int32
      error_code int16
      high_watermark int64
      last_stable_offset int64 4+
      log_start_offset int64 5+
      aborted [] 4+
        producer_id int64
        first_offset int64
      preferred_read_replica int32 11+
      records bytes

api 2 ListOffsets flex 6
req
  replica_id int32
  isolation_level int8 2+
  topics []
    name string
    partitions []
      index int32
      current_leader_epoch int32 4+
      timestamp int64
rsp
  throttle_time_ms int32 2+
  topics []
    name string
    partitions []
      index int32
      error_code int16
      timestamp int64 1+
      offset int64 1+
      leader_epoch int32 4+

api 3 Metadata flex 9
req
  topics []
    topic_id uuid 10+
    name string
  allow_auto_topic_creation bool 4+
  include_cluster_authorized_operations bool 8-10
  include_topic_authorized_operations bool 8+
rsp
  throttle_time_ms int32 3+
  brokers []
    node_id int32
    host string
    port int32
    rack string 1+
  cluster_id string 2+
  controller_id int32 1+
  topics []
    error_code int16
    name string
    topic_id uuid 10+
    is_internal bool 1+
    partitions []
      error_code int16
      index int32
      leader_id int32
      leader_epoch int32 7+
      replicas []int32
      isr []int32
      offline []int32 5+
    authorized_operations int32 8+
  cluster_authorized_operations int32 8-10

api 18 ApiVersions flex 3
req
  client_software_name string 3+
  client_software_version string 3+
rsp
  error_code int16
  apis []
    key int16
    min int16
    max int16
  throttle_time_ms int32 1+

api 19 CreateTopics flex 5
req
  topics []
    name string
    num_partitions int32
    replication_factor int16
    assignments []
      partition int32
      brokers []int32
    configs []
      name string
      value string
  timeout_ms int32
  validate_only bool 1+
rsp
  throttle_time_ms int32 2+
  topics []
    name string
    topic_id uuid 7+
    error_code int16
    error_message string 1+
    num_partitions int32 5+
    replication_factor int16 5+
    configs [] 5+
      name string
      value string
      read_only bool
      source int8
      sensitive bool

api 20 DeleteTopics flex 4
req
  topics [] 6+
    name string
    topic_id uuid
  topic_names []string 0-5
  timeout_ms int32
rsp
  throttle_time_ms int32 1+
  responses []
    name string
    topic_id uuid 6+
    error_code int16
    error_message string 5+

api 32 DescribeConfigs flex 4
req
  resources []
    type int8
    name string
    keys []string
  include_synonyms bool 1+
  include_documentation bool 3+
rsp
  throttle_time_ms int32
  results []
    error_code int16
    error_message string
    type int8
    name string
    configs []
      name string
      value string
      read_only bool
      is_default bool 0-0
      source int8 1+
      sensitive bool
      synonyms [] 1+
        name string
        value string
        source int8
      config_type int8 3+
      documentation string 3+

api 33 AlterConfigs flex 2
req
  resources []
    type int8
    name string
    configs []
      name string
      value string
  validate_only bool
rsp
  throttle_time_ms int32
  responses []
    error_code int16
    error_message string
    type int8
    name string

api 35 DescribeLogDirs flex 2
req
  topics []
    name string
    partitions []int32
rsp
  throttle_time_ms int32
  error_code int16 3+
  results []
    error_code int16
    log_dir string
    topics []
      name string
      partitions []
        index int32
        size int64
        offset_lag int64
        is_future bool
    total_bytes int64 4+
    usable_bytes int64 4+

api 37 CreatePartitions flex 2
req
  topics []
    name string
    count int32
    assignments []
      brokers []int32
  timeout_ms int32
  validate_only bool
rsp
  throttle_time_ms int32
  results []
    name string
    error_code int16
    error_message string

api 21 DeleteRecords flex 2
req
  topics []
    name string
    partitions []
      index int32
      offset int64
  timeout_ms int32
rsp
  throttle_time_ms int32
  topics []
    name string
    partitions []
      index int32
      low_watermark int64
      error_code int16

api 23 OffsetForLeaderEpoch flex 4
req
  replica_id int32 3+
  topics []
    topic string
    partitions []
      partition int32
      current_leader_epoch int32
      leader_epoch int32
rsp
  throttle_time_ms int32
  topics []
    topic string
    partitions []
      error_code int16
      partition int32
      leader_epoch int32
      end_offset int64

api 22 InitProducerId flex 2
req
  transactional_id string
  transaction_timeout_ms int32
  producer_id int64 3+
  producer_epoch int16 3+
rsp
  throttle_time_ms int32
  error_code int16
  producer_id int64
  producer_epoch int16

api 44 IncrementalAlterConfigs flex 1
req
  resources []
    type int8
    name string
    configs []
      name string
      operation int8
      value string
  validate_only bool
rsp
  throttle_time_ms int32
  responses []
    error_code int16
    error_message string
    type int8
    name string

api 60 DescribeCluster flex 0
req
  include_authorized_operations bool
  endpoint_type int8 1+
rsp
  throttle_time_ms int32
  error_code int16
  error_message string
  endpoint_type int8 1+
  cluster_id string
  controller_id int32
  brokers []
    node_id int32
    host string
    port int32
    rack string
  authorized_operations int32

api 8 OffsetCommit flex 8
req
  group_id string
  generation_id int32
  member_id string
  group_instance_id string 7+
  retention_time_ms int64 2-4
  topics []
    name string
    partitions []
      index int32
      offset int64
      leader_epoch int32 6+
      metadata string
rsp
  throttle_time_ms int32 3+
  topics []
    name string
    partitions []
      index int32
      error_code int16

api 9 OffsetFetch flex 6
req
  group_id string 0-7
  topics [] 0-7
    name string
    partitions []int32
  groups [] 8+
    group_id string
    topics []
      name string
      partitions []int32
  require_stable bool 7+
rsp
  throttle_time_ms int32 3+
  topics [] 0-7
    name string
    partitions []
      index int32
      offset int64
      leader_epoch int32 5+
      metadata string
      error_code int16
  error_code int16 2-7
  groups [] 8+
    group_id string
    topics []
      name string
      partitions []
        index int32
        offset int64
        leader_epoch int32
        metadata string
        error_code int16
    error_code int16

api 10 FindCoordinator flex 3
req
  key string 0-3
  key_type int8 1+
  coordinator_keys []string 4+
rsp
  throttle_time_ms int32 1+
  error_code int16 0-3
  error_message string 1-3
  node_id int32 0-3
  host string 0-3
  port int32 0-3
  coordinators [] 4+
    key string
    node_id int32
    host string
    port int32
    error_code int16
    error_message string

api 11 JoinGroup flex 6
req
  group_id string
  session_timeout_ms int32
  rebalance_timeout_ms int32 1+
  member_id string
  group_instance_id string 5+
  protocol_type string
  protocols []
    name string
    metadata bytes
  reason string 8+
rsp
  throttle_time_ms int32 2+
  error_code int16
  generation_id int32
  protocol_type string 7+
  protocol_name string
  leader string
  skip_assignment bool 9+
  member_id string
  members []
    member_id string
    group_instance_id string 5+
    metadata bytes

api 12 Heartbeat flex 4
req
  group_id string
  generation_id int32
  member_id string
  group_instance_id string 3+
rsp
  throttle_time_ms int32 1+
  error_code int16

api 13 LeaveGroup flex 4
req
  group_id string
  member_id string 0-2
  members [] 3+
    member_id string
    group_instance_id string
    reason string 5+
rsp
  throttle_time_ms int32 1+
  error_code int16
  members [] 3+
    member_id string
    group_instance_id string
    error_code int16

api 14 SyncGroup flex 4
req
  group_id string
  generation_id int32
  member_id string
  group_instance_id string 3+
  protocol_type string 5+
  protocol_name string 5+
  assignments []
    member_id string
    assignment bytes
rsp
  throttle_time_ms int32 1+
  error_code int16
  protocol_type string 5+
  protocol_name string 5+
  assignment bytes

api 15 DescribeGroups flex 5
req
  groups []string
  include_authorized_operations bool 3+
rsp
  throttle_time_ms int32 1+
  groups []
    error_code int16
    group_id string
    group_state string
    protocol_type string
    protocol_data string
    members []
      member_id string
      group_instance_id string 4+
      client_id string
      client_host string
      member_metadata bytes
      member_assignment bytes
    authorized_operations int32 3+

api 16 ListGroups flex 3
req
  states_filter []string 4+
rsp
  throttle_time_ms int32 1+
  error_code int16
  groups []
    group_id string
    protocol_type string
    group_state string 4+

api 42 DeleteGroups flex 2
req
  groups_names []string
rsp
  throttle_time_ms int32
  results []
    group_id string
    error_code int16

api 47 OffsetDelete flex 99
req
  group_id string
  topics []
    name string
    partitions []
      index int32
rsp
  error_code int16
  throttle_time_ms int32
  topics []
    name string
    partitions []
      index int32
      error_code int16
"""


class Field:
    def __init__(self, name, kind, first, last):
        self.name, self.kind, self.first, self.last = name, kind, first, last
        self.children = []

    def present(self, version):
        return self.first <= version <= self.last


class Api:
    def __init__(self, key, name, flexible):
        self.key, self.name, self.flexible = key, name, flexible
        self.request, self.response = [], []


def parse(text):
    apis, api, stack = {}, None, None
    for line in text.splitlines():
        if not line.strip():
            continue
        words = line.split()
        if words[0] == "api":
            api = Api(int(words[1]), words[2], int(words[4]))
            apis[api.name] = api
        elif line in ("req", "rsp"):
            stack = [(0, api.request if line == "req" else api.response)]
        else:
            indent = (len(line) - len(line.lstrip())) // 2
            first, last = 0, 99
            if len(words) > 2:
                low, plus, high = words[2].partition("-") if "-" in words[2] else (words[2][:-1], "+", "99")
                first, last = int(low), int(high)
            field = Field(words[0], words[1], first, last)
            while stack[-1][0] >= indent:
                stack.pop()
            stack[-1][1].append(field)
            stack.append((indent, field.children))
    return apis


APIS = parse(TABLES)
