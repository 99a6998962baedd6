"""Every name that an engine from 3.1 to 4.5 writes into an OVF, by the place where it stands.

What is not among them is reported, because it may matter for a start.
Source: ovirt-engine, utils/ovf: OvfWriter, OvfOvirtWriter, OvfVmWriter,
HostedEngineOvfWriter of every release; what only its readers know (marks of a
template, another spelling of InstanceId) is here too.
"""

from ovirt_he_agent.ovf.record import RASD

ENVELOPE = frozenset(("References", "NetworkSection", "Section", "Content"))
ENVELOPE_SECTIONS = frozenset(("ovf:DiskSection_Type", "ovf:NetworkSection_Type"))
REFERENCES = frozenset(("File", "Nic"))
DISK_SECTION = frozenset(("Info", "Disk"))
DISK_ATTRIBUTES = frozenset((
    "diskId", "size", "actual_size", "vm_snapshot_id", "parentRef", "fileRef", "format", "volume-format",
    "volume-type", "disk-interface", "read-only", "shareable", "boot", "pass-discard", "incremental-backup",
    "qcow-compat", "disk-alias", "disk-description", "wipe-after-delete", "lun_id", "scsi_reservation",
    "plugged",
))  # fmt: skip
DISK = frozenset(("Connection",))
TEMPLATE = frozenset((
    "TemplateType", "BaseTemplateId", "TemplateVersionNumber", "TemplateVersionName", "IsDisabled",
    "default_display_type",
))  # fmt: skip
"""Elements of templates, which have most of a VM's too."""
CONTENT = TEMPLATE.union((
    "Section", "ProductSection", "Name", "Description", "Comment", "Domain", "CreationDate", "ExportDate",
    "Generation", "DeleteProtected", "SsoMethod", "IsSmartcardEnabled", "NumOfIoThreads", "TimeZone",
    "default_boot_sequence", "initrd_url", "kernel_url", "kernel_params", "CustomCompatibilityVersion",
    "ClusterCompatibilityVersion", "VmType", "ResumeBehavior", "TunnelMigration", "MigrationDowntime",
    "MigrationSupport", "DedicatedVmForVds", "IsAutoConverge", "IsMigrateCompressed", "IsMigrateEncrypted",
    "MigrationPolicyId", "ParallelMigrations", "VncKeyboardLayout", "MinAllocatedMem", "MaxMemorySizeMb",
    "IsStateless", "IsRunAndPause", "IsAutoSuspend", "AutoStartup", "Priority", "CreatedByUserId", "VmInit",
    "SerialNumberPolicy", "CustomSerialNumber", "IsBootMenuEnabled", "IsSpiceFileTransferEnabled",
    "IsSpiceCopyPasteEnabled", "AllowConsoleReconnect", "ConsoleDisconnectAction",
    "ConsoleDisconnectActionDelay", "CustomEmulatedMachine", "BiosType", "CustomCpuName",
    "PredefinedProperties", "UserDefinedProperties", "LeaseDomainId", "MultiQueuesEnabled",
    "VirtioScsiMultiQueuesEnabled", "UseHostCpu", "BalloonEnabled", "CpuPinningPolicy", "CpuPinning",
    "ClusterName", "TemplateId", "TemplateName", "InstanceTypeId", "ImageTypeId", "OriginalTemplateId",
    "OriginalTemplateName", "UseLatestVersion", "IsInitilized", "quota_id", "TrustedService", "app_list",
    "StopTime", "BootTime", "Downtime", "Origin", "DefaultDisplayType", "exportonly_migrationSupport",
    "exportonly_predefinedProperties", "exportonly_userDefinedProperties", "exportonly_cpuPinning",
    "EngineXml",
))  # fmt: skip
SECTIONS = frozenset((
    "ovf:OperatingSystemSection_Type", "ovf:VirtualHardwareSection_Type", "ovf:SnapshotsSection_Type",
    "ovf:NumaNodeSection_Type", "ovf:AffinityGroupsSection_Type", "ovf:AffinityLabelsSection_Type",
    "ovf:UserDomainsSection_Type", "ovf:VmExternalDataSection_Type",
))  # fmt: skip
HARDWARE = frozenset(("Info", "System", "Item"))
_RASD = (
    "Caption", "Description", "InstanceId", "InstanceID", "ResourceType", "num_of_sockets", "cpu_per_socket",
    "threads_per_cpu", "max_num_of_vcpus", "VirtualQuantity", "AllocationUnits", "HostResource", "Parent",
    "Template", "ApplicationList", "StorageId", "StoragePoolId", "CreationDate", "LastModified",
    "last_modified_date", "OtherResourceType", "ResourceSubType", "Connection", "Linked", "Name",
    "ElementName", "MACAddress", "speed", "UsbPolicy", "SinglePciQxl", "Address",
)  # fmt: skip
RECORD = frozenset(
    (
        "Type",
        "Device",
        "BootOrder",
        "IsPlugged",
        "IsReadOnly",
        "Alias",
        "SpecParams",
        "CustomProperties",
        "SnapshotId",
    )
)
"""The device record; its address is in the other namespace."""
ITEM = RECORD.union(RASD + name for name in _RASD)
NUMA_NODE = frozenset(("id", "Index", "cpuIdList", "vdsNumaNodeList", "MemTotal", "NumaTuneMode"))
SNAPSHOT = frozenset(("Type", "Description", "CreationDate", "Memory", "ApplicationList", "VmConfiguration"))
