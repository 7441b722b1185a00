package v1beta1

// NetworkData is the static network configuration of a server. It is rendered in the format that the osFamily reads.
type NetworkData struct {
	// interfaces in the order in which they are configured.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Interfaces []NetworkInterface `json:"interfaces,omitempty"`
	// nameservers are IP addresses.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="must be an IP address, such as 192.0.2.53"
	Nameservers []string `json:"nameservers,omitempty"`
	// searchDomains for short names.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	SearchDomains []string `json:"searchDomains,omitempty"`
}

// NetworkInterface is an Ethernet port (macAddress), a bond (bond) or a VLAN (vlan): exactly one of them.
//
// +kubebuilder:validation:XValidation:rule="[has(self.macAddress), has(self.bond), has(self.vlan)].exists_one(x, x)",message="exactly one of macAddress, bond and vlan is set"
type NetworkInterface struct {
	// name of the interface in the booted system.
	// +required
	// +kubebuilder:validation:Pattern=`^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$`
	Name string `json:"name"`
	// macAddress of an Ethernet port.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$`
	MACAddress string `json:"macAddress,omitempty"`
	// bond joins several ports.
	// +optional
	Bond *Bond `json:"bond,omitempty"`
	// vlan tags another interface.
	// +optional
	VLAN *VLAN `json:"vlan,omitempty"`
	// mtu in bytes.
	// +optional
	// +kubebuilder:validation:Minimum=576
	// +kubebuilder:validation:Maximum=9216
	MTU int32 `json:"mtu,omitempty"`
	// dhcp4 asks for an IPv4 lease.
	// +optional
	DHCP4 bool `json:"dhcp4,omitempty"`
	// addresses in CIDR form.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be an address with its prefix, such as 192.0.2.10/24"
	Addresses []string `json:"addresses,omitempty"`
	// routes through this interface.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Routes []Route `json:"routes,omitempty"`
}

// Bond joins Ethernet interfaces by their names.
type Bond struct {
	// mode, such as active-backup or 802.3ad.
	// +required
	// +kubebuilder:validation:Enum="balance-rr";"active-backup";"balance-xor";"broadcast";"802.3ad";"balance-tlb";"balance-alb"
	Mode string `json:"mode"`
	// interfaces that are joined.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=15
	Interfaces []string `json:"interfaces"`
}

// VLAN is a tagged interface on top of another.
type VLAN struct {
	// id of the VLAN.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4094
	ID int32 `json:"id"`
	// link is the interface below.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	Link string `json:"link"`
}

// Route is one static route.
type Route struct {
	// to is the destination in CIDR form; 0.0.0.0/0 and ::/0 are the default routes.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="must be a network with its prefix, such as 198.51.100.0/24"
	To string `json:"to"`
	// via is the gateway.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IP address, such as 192.0.2.1"
	Via string `json:"via"`
}
